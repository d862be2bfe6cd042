package e2e

import (
	"testing"

	"github.com/sluice-cni/sluice/test/bed"
)

// Addresses in Services' ranges that no Service has are refused by the node's stack,
// past all policies. Those of nodes and pods are none of them, though somebody may have
// chosen the ranges so that they are in there.
func TestARangeOfServicesTakesNoNodesAndPodsOutOfPolicies(t *testing.T) {
	n := ownNode(t, 24, 64, bed.Options{AgentArgs: []string{"--service-cidrs=172.16.0.0/12,10.240.0.0/12,fd00::/16"}})
	n.logIfFailed(t)
	n.namespace(t, "ranges", nil)
	n.apply(t, `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: ranges, name: mute}
spec: {podSelector: {matchLabels: {app: mute}}, policyTypes: [Egress]}
`)
	serve(t, n.Node, servedPorts...)
	mute, free := n.pod(t, "ranges", "mute", map[string]string{"app": "mute"}), n.pod(t, "ranges", "free", nil)
	n.check(t, between(hosts(mute, free), append(hosts(free), n.Node))...)
}
