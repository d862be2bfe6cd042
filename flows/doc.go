// Package flows is Sluice's pipeline: rules, ports and peers go in, OpenFlow
// flows come out.
//
// The package is pure. It does no I/O, knows neither Open vSwitch's sockets nor
// Kubernetes, and given the same history it produces the same flows in the same
// order. What a policy means is decided above it (pkg/policy); how flows reach
// a bridge is decided beside it (ovs/openflow).
//
// A caller describes the world in terms of a few nouns:
//
//   - a Port is a pod's port on this node's bridge;
//   - a Peer is an address of a pod anywhere in the cluster;
//   - a Block is an ipBlock: a CIDR less its excepts;
//   - a Term is a set of pods or addresses that rules refer to, such as "pods
//     labelled role=api in namespace shop"; the caller decides who is in it;
//   - a Rule says that subjects may exchange some service with some peers.
//
// Pipeline.Apply takes a change of these and returns the flows that change with
// it, at a cost proportional to the change and not to the state.
package flows
