#!/usr/bin/env bash
# Builds what a test cluster (test/cluster) runs besides Kubernetes, and keeps it
# in the cache: CNI plugins, CoreDNS, and archives of images.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../env.sh

kubernetes=$(../kubernetes/build.sh kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet kube-proxy agnhost)
dir=$SLUICE_CACHE/cluster
mkdir -p "$dir/bin" "$dir/cni" "$dir/images"
exec 9>"$dir/.lock"
flock 9

export CGO_ENABLED=0 GOFLAGS=-mod=readonly
build() { nice go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$@"; }
for plugin in ipam/host-local main/loopback main/ptp meta/portmap; do
	build "$dir/cni/${plugin##*/}" "github.com/containernetworking/plugins/plugins/$plugin"
done
build "$dir/bin/coredns" ./coredns
build "$dir/bin/images" ./images

source=$(cd ../kubernetes && go list -m -f '{{.Dir}}' k8s.io/kubernetes)
gcc -Os -Wall -static -s -DVERSION=3.10.1 -o "$dir/bin/pause" "$source/build/pause/linux/pause.c"
ln -sf "$kubernetes/agnhost" "$dir/bin/agnhost"
ln -sf "$source/test/images/agnhost/porter/localhost".{crt,key} "$dir/bin/"
"$dir/bin/images" -bin "$dir/bin" -o "$dir/images"
