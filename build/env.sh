# shellcheck shell=bash
# What the build scripts share; to be sourced.

# Where things that take long to make are kept between runs. Tests look for the
# Kubernetes binaries there (test/apiserver).
SLUICE_CACHE=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}
export SLUICE_CACHE

# A Go that deps.sh had to fetch; nothing is there where the machine's will do.
PATH=$SLUICE_CACHE/go/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}
