#!/usr/bin/env bash
# Makes the Debian root that the image's files are taken from: root.sh FOLDER.
#
# Packages are unpacked and not set up: no maintainer script runs, and what they
# would make is not wanted either. Beside the files, var/lib/dpkg/status.d names
# each package and its files, in the form in which scanners of images look for it.
set -euo pipefail
into=$1

packages=(busybox netbase nftables openvswitch-common openvswitch-switch tini util-linux)
include=$(IFS=, && echo "${packages[*]}")

# shellcheck disable=SC2016 # for the hook's shell
status='
	mkdir -p "$1/var/lib/dpkg/status.d"
	for deb in "$1"/var/cache/apt/archives/*.deb; do
		entry=$1/var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package)
		dpkg-deb --field "$deb" >"$entry"
		dpkg-deb --info "$deb" md5sums >"$entry.md5sums" 2>/dev/null || rm "$entry.md5sums"
	done'

# Nothing of a package is run, and so nothing has to be mounted.
mmdebstrap --quiet --variant=extract --skip=chroot/mount,check/empty \
	--aptopt='APT::Install-Recommends "false"' --include="$include" --extract-hook="$status" \
	bookworm "$into"
