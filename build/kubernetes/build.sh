#!/usr/bin/env bash
# Builds Kubernetes commands from the module in this folder and keeps them in
# the cache: build.sh [COMMAND...], by default those that every test needs. Besides
# what is in cmd/ there are agnhost, which test pods run, and the suite e2e.test.
# What is cached is not built again. Prints the folder the commands are in.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../env.sh

version=$(awk '$1 == "require" && $2 == "k8s.io/kubernetes" {print $3}' go.mod)
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+$ ]] || die "no version of k8s.io/kubernetes in go.mod"
dir=$SLUICE_CACHE/kubernetes-$version
commands=("$@")
[ $# -gt 0 ] || commands=(kube-apiserver kube-controller-manager kubectl)

# What `kubectl version` and the API server's /version say.
number=${version#v}
info=k8s.io/component-base/version
ldflags="-s -w -X $info.gitVersion=$version -X $info.gitMajor=${number%%.*} -X $info.gitMinor=$(cut -d. -f2 <<<"$number")"

mkdir -p "$dir"
# One build at a time: two of them side by side would only do the same work twice.
exec 9>"$dir/.lock"
flock 9
for command in "${commands[@]}"; do
	[ -x "$dir/$command" ] && continue
	echo "building $command $version (minutes the first time, then cached)" >&2
	build=(build)
	package=cmd/$command
	case $command in
	agnhost) package=test/images/agnhost ;;
	e2e.test) build=(test -c) package=test/e2e ;;
	esac
	CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go "${build[@]}" -trimpath -buildvcs=false -ldflags "$ldflags" \
		-o "$dir/.$command.new" "k8s.io/kubernetes/$package"
	mv "$dir/.$command.new" "$dir/$command"
done
echo "$dir"
