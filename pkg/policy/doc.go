// Package policy compiles Kubernetes NetworkPolicies (networking.k8s.io/v1) for
// one node: cluster events and the node's pod ports go in, changes of the
// pipeline's nouns (package flows) come out.
//
// The Compiler is pure: it does no I/O, is owned by one goroutine, and the same
// history of calls gives the same output. What is paid for a change is
// proportional to what it changes:
//
//	pod, namespace ──> universe of peers ────┐ sets, groups
//	port ─> pod ─────> universe of subjects ─┤
//	policy ──parse──> selections, services ──┴─> rules ─> flows.Delta
//
// The rooms of the house:
//
//   - A selection (selectors.go) is a canonical pair of namespace and pod
//     selector. Equal selections share one set.
//   - A universe (universe.go) keeps the members of every set in use. Subjects
//     are the pods behind the ports of this node, peers are all pods of the
//     cluster that have an address.
//   - A group (sets.go) is what a flows.Term stands for: a set, or those of its
//     pods whose named port resolves to one number (named.go). It has a handle
//     for as long as a rule of the direction names it.
//   - Rules (rules.go) are built only for policies that select a port of this
//     node; only what they name enters a universe's sets.
//   - Flush (flush.go) looks at what was touched, compares it with what was told
//     before, and tells the difference.
//
// # Readings of the API
//
// Where the NetworkPolicy API leaves room, or where information is late:
//
//   - A port is its pod's if namespace, name and uid agree; where one of the uids
//     is not known, the pod must not be bound to another node. Until then, and
//     until the first listing is complete, the port is Pending. So is the port of
//     a pod that has finished.
//   - A pod is a peer once it has status.podIPs. Its peer addresses are its port's
//     if the port is on this node (status may tell of an earlier sandbox), and
//     status.podIPs otherwise.
//   - An address that several live pods claim is a member of a set only if all of
//     them are: rules only ever allow, so that fails closed. The pod behind a port
//     of this node has the better claim.
//   - A namespace whose labels are not known yet is selected only by selectors its
//     name alone decides. Every namespace has the label
//     kubernetes.io/metadata.name.
//   - A named port in an egress rule without `to` stands for every pod that has a
//     port of that name.
//   - Bad input closes the rule it stands in. A policy whose podSelector is bad
//     isolates every pod that the well-formed part of the selector picks, and
//     allows nothing; an unknown policy type isolates both directions.
package policy
