#!/usr/bin/env bash
# Installs what a fresh Debian 12 machine lacks: deps.sh PURPOSE...
#
#   build    Go itself
#   demo     Open vSwitch and the tools for network namespaces
#   test     as demo, and what the tests need besides the Kubernetes binaries
#   lint     shellcheck
#   cluster  as test, and what nodes of a cluster run and their images hold
#   image    what unpacks the Debian packages in the container images
#   kernel   an emulator and a kernel with the openvswitch module to run in it
#
# Says nothing and takes no time when all is there. No service is started: the
# tests and the demo run daemons of their own in temp folders.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./env.sh
cd ..

# What is to be removed at the end, however it comes.
temps=()
policy=
cleanup() {
	rm -rf "${temps[@]}"
	[ -z "$policy" ] || root rm -f "$policy"
}
trap cleanup EXIT

# temp_dir makes a temporary folder in a given folder and puts its name in $temp.
temp_dir() {
	mkdir -p "$1"
	temp=$(mktemp -d -p "$1")
	temps+=("$temp")
}

root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "needs root to install packages: run as root, or install sudo"
	fi
}

apt_get() { root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"; }

# no_services makes maintainer scripts start no daemon for as long as this script
# runs. Where a policy is there already, it is the machine's own and stays.
no_services() {
	[ ! -e /usr/sbin/policy-rc.d ] || return 0
	policy=/usr/sbin/policy-rc.d
	printf '#!/bin/sh\nexit 101\n' | root tee $policy >/dev/null
	root chmod 755 $policy
}

# packages installs those of the given packages that are missing.
packages() {
	local package missing=()
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || die "this machine has no apt-get; install by hand: ${missing[*]}"
	echo "installing ${missing[*]}" >&2
	no_services
	apt_get update
	local log
	log=$(apt_get install -y --no-install-recommends "${missing[@]}" 2>&1) || die "cannot install packages: $log"
	# Nor are they to start at the next boot.
	for package in "${missing[@]}"; do
		case $package in
		openvswitch-switch | etcd-server | containerd)
			! command -v systemctl >/dev/null || root systemctl --quiet disable "${package/etcd-server/etcd}.service" ;;
		esac
	done
}

# unpack fetches a package and unpacks it in a folder without installing it.
unpack() {
	local package=$1 into=$2 temp
	temp_dir "${TMPDIR:-/tmp}"
	local download=(apt-get -qq -o APT::Sandbox::User=root download "$package")
	# The file may be gone from the archive if the package lists are old.
	(cd "$temp" && { "${download[@]}" 2>/dev/null || { apt_get update && "${download[@]}"; }; }) ||
		die "cannot fetch the Debian package $package"
	dpkg-deb -x "$temp"/*.deb "$into"
}

# go_is_enough tells whether `go` is, or by itself becomes, what go.mod asks for:
# since 1.21 Go fetches newer toolchains as modules.
go_is_enough() {
	local have want
	want=$(awk '$1 == "go" {print $2}' go.mod)
	have=$(go env GOVERSION 2>/dev/null) || return
	have=${have#go}
	[ "$(printf '%s\n' "$want" "${have%%[ -]*}" | sort -V | head -n 1)" = "$want" ]
}

# toolchain fetches the Go that go.mod asks for from the Go module proxy, the way
# a newer Go does it by itself. Debian 12's go 1.19 is too old for that, but it
# can fetch and check a module.
toolchain() {
	local want arch module temp
	want=$(awk '$1 == "go" {print $2}' go.mod)
	arch=$(dpkg --print-architecture) || die "needs Go $want: see https://go.dev/doc/install"
	module=golang.org/toolchain@v0.0.1-go$want.linux-$arch
	echo "fetching Go $want to $SLUICE_CACHE/go" >&2
	temp_dir "$SLUICE_CACHE"
	unpack golang-1.19-go "$temp/old"
	(cd "$temp" && GOROOT=$temp/old/usr/lib/go-1.19 GOMODCACHE=$temp/mod GOFLAGS=-modcacherw \
		"$temp/old/usr/lib/go-1.19/bin/go" mod download "$module") ||
		die "cannot fetch Go $want; install it from https://go.dev/doc/install and put it in PATH"
	# Modules carry no file modes.
	chmod +x "$temp/mod/$module"/bin/* "$temp/mod/$module"/pkg/tool/*/*
	rm -rf "$SLUICE_CACHE/go"
	mv "$temp/mod/$module" "$SLUICE_CACHE/go"
	go_is_enough || die "needs Go $want, and $SLUICE_CACHE/go is not it: see https://go.dev/doc/install"
}

# kernel keeps Debian's kernel in the cache. It is not installed: the machine is
# not to boot it, and needs no initramfs for it.
kernel() {
	local dir=$SLUICE_CACHE/linux package temp
	[ ! -e "$dir/vmlinuz" ] || return 0
	echo "fetching a Linux kernel to $dir" >&2
	temp_dir "$SLUICE_CACHE"
	# Which kernel is the current one, old package lists don't know.
	apt_get update
	package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ {print $2}')
	unpack "$package" "$temp"
	depmod --basedir "$temp" "${package#linux-image-}"
	ln -s "boot/vmlinuz-${package#linux-image-}" "$temp/vmlinuz"
	chmod 755 "$temp"
	rm -rf "$dir"
	mv "$temp" "$dir"
}

[ $# -gt 0 ] || die "usage: deps.sh build|demo|test|lint|cluster|kernel..."
for purpose; do
	case $purpose in
	build) ;;
	demo) packages openvswitch-switch iproute2 nftables ;;
	# gcc is for the race detector, the browser and a font for the page.
	test)
		packages openvswitch-switch iproute2 nftables conntrack etcd-server gcc libc6-dev \
			chromium-headless-shell fonts-dejavu-core
		;;
	cluster)
		packages openvswitch-switch iproute2 util-linux etcd-server containerd runc nftables conntrack \
			gcc libc6-dev dash busybox curl netcat-openbsd bind9-dnsutils
		;;
	lint) packages shellcheck ;;
	image) packages mmdebstrap ;;
	kernel)
		packages qemu-system-x86 kmod
		kernel
		;;
	*) die "unknown purpose $purpose" ;;
	esac
done
packages ca-certificates # for the module proxy
go_is_enough || toolchain
