// Command sluice-cni is the CNI plugin of Sluice: it hands what the container
// runtime asks to the node's agent and prints the agent's answer.
//
// The one thing it does alone is DEL when no agent runs: see forwarder.del.
package main

import (
	"runtime/debug"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"
)

func main() {
	// The process lives for one request: collecting garbage would only slow it.
	debug.SetGCPercent(-1)
	var f forwarder
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add:    f.add,
		Del:    f.del,
		Check:  f.check,
		GC:     f.gc,
		Status: f.status,
	}, version.All, "CNI plugin sluice-cni: forwards to the sluice-agent of this node")
}
