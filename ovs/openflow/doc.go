// Package openflow writes flows and groups to an Open vSwitch bridge and reads
// them back, in the types of go-openvswitch.
//
// A [Transaction] is written by [Bridge.Commit] as one atomic, ordered OpenFlow
// bundle: the switch takes all of it or none, and a packet sees the tables
// either before it or after it. When the switch refuses a change, the error is
// a [*BundleError] that names it.
//
// The same flow has many spellings: tcp_dst=80 and tp_dst=0x50, load and
// set_field, a /32 or none. [Text] and [Key] give each flow exactly one, equal
// for what was added and for what the bridge dumps, so that [Diff] can compare
// desired and actual flows. The one spelling is that of `ovs-ofctl dump-flows
// -O OpenFlow15 --no-names --no-stats`, with the match fields sorted by name.
//
// A bridge is spoken to through ovs-ofctl or, with [Config.Native], over a
// connection of this process (packages ofp and channel), which is faster: an
// update of one flow takes 0.1 ms instead of 5. What package ofp does not know,
// such as bundle, goes through ovs-ofctl then too.
//
// Ports and tables are numbers here. Names are never resolved: that would cost
// a round trip and could mean another port by the time the bundle arrives.
//
// VLAN, MPLS and tunnel matches and the actions that go with them are carried
// unchanged, but only their spelling is normalised, not what it stands for
// (vlan_tci against dl_vlan).
package openflow
