#!/usr/bin/env bash
# Assembles the container images: build.sh ARCHIVE [FLAG...], with the flags of the
# command in this folder. Sluice's binaries are in bin/ already.
#
# The Debian root that Open vSwitch comes from is kept in the cache; another
# root.sh makes another one.
set -euo pipefail
out=$(realpath -m "$1")
shift
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../env.sh

key=$(sha256sum <root.sh)
root=$SLUICE_CACHE/image/root-${key:0:16}
mkdir -p "$SLUICE_CACHE/image"
exec 9>"$SLUICE_CACHE/image/.lock"
flock 9
if [ ! -d "$root" ]; then
	echo "unpacking Debian packages in $root" >&2
	sudo=
	[ "$(id -u)" -eq 0 ] || sudo=sudo
	temp=$(mktemp -d -p "$SLUICE_CACHE/image")
	trap '$sudo rm -rf "$temp"' EXIT
	chmod 755 "$temp"
	log=$($sudo ./root.sh "$temp/root" 2>&1) || die "cannot make a Debian root: $log"
	mv "$temp/root" "$root"
fi

mkdir -p "$(dirname "$out")"
CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go run . -root "$root" -o "$out" "$@"
