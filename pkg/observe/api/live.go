package api

import (
	"net/netip"
	"time"
)

// LiveRequest asks to follow real packets through the bridge.
type LiveRequest struct {
	// From and To are pods ("namespace/name") or addresses: of who sends the packets,
	// and of whom they are sent to. To may be a Service too (ServicePrefix). One of
	// them may be empty.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Protocol is "tcp", "udp", "sctp", "icmp" or empty for any, Port the destination
	// port, zero for any.
	Protocol string `json:"protocol,omitempty"`
	Port     uint16 `json:"port,omitempty"`
	// Arrivals, if there are any, stand in place of From, To and Port: packets as they
	// come from another node.
	Arrivals []LiveArrival `json:"arrivals,omitempty"`
	// Seconds is how long to follow, at most 600.
	Seconds int `json:"seconds"`
}

// LiveArrival selects packets that come from another node. One address may be empty
// for any, Port zero for any.
type LiveArrival struct {
	// By is how they come: ByTunnel or ByRoute.
	By   string `json:"by"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	Port uint16 `json:"port,omitempty"`
}

// LivePlan says at which nodes the packets of a LiveRequest come by.
type LivePlan struct {
	// Node is the node whose agent tells. What it says of Onward is right if it is
	// the first one.
	Node string `json:"node"`
	// From and To are the nodes of the two ends, empty where no node has the address.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Service is true if To is one.
	Service bool `json:"service,omitempty"`
	// Onward is where packets may go on to, by the name of the node.
	Onward []LiveOnward `json:"onward,omitempty"`
}

// LiveOnward is another node that packets may go on to, with what to ask there.
type LiveOnward struct {
	Node string      `json:"node"`
	Ask  LiveRequest `json:"ask"`
}

// LiveLine is a line of the stream that answers a LiveRequest: one of its fields is
// set. The first line has a count, and means that packets are followed from now on.
// There is another one each second. At the time's end the stream ends.
type LiveLine struct {
	Packet *LivePacket `json:"packet,omitempty"`
	Count  *LiveCount  `json:"count,omitempty"`
	// Ended is why following has ended before its time.
	Ended string `json:"ended,omitempty"`
}

// LiveCount says how complete a stream is.
type LiveCount struct {
	// Matched is how many packets the bridge has followed: its counters are a second
	// late, at most. Told is of how many of them the agent has heard.
	Matched uint64 `json:"matched"`
	Told    uint64 `json:"told"`
}

// LivePacket is a real packet's way through the bridge, or put together by package
// across through those of several nodes.
type LivePacket struct {
	Time time.Time `json:"time"`
	// Node is the node whose agent tells.
	Node string   `json:"node,omitempty"`
	From Endpoint `json:"from"`
	// To is the end that the packet was sent to. That may be a Service: then Service
	// says who was chosen.
	To       Endpoint `json:"to"`
	Protocol string   `json:"protocol"`
	// SourcePort and Port are zero where the protocol has none.
	SourcePort uint16    `json:"sourcePort,omitempty"`
	Port       uint16    `json:"port,omitempty"`
	Service    *Balanced `json:"service,omitempty"`
	// Verdict is as in Event, or HalfAsked or Lost, Reason why. What an agent says by
	// itself is the verdict of its own node, put together it is that of all.
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	// Problem is why nothing is said of the node that the packet comes from.
	Problem string `json:"problem,omitempty"`
	// Steps are the tables it crossed, in order.
	Steps []LiveStep `json:"steps"`
	// Output is the name of the port it left by, "gateway" or "tunnel"; empty if it
	// did not.
	Output string `json:"output,omitempty"`
	// Mark is the same for the same packet on all nodes, and another one for another,
	// also of the same connection.
	Mark string `json:"mark"`
	// Next is the other node that it went on to, nil if it did not.
	Next *LiveNext `json:"next,omitempty"`
}

// Incomplete is the verdict of a packet of which too little was told: over the
// meter's rate, or by a node that was not asked.
const Incomplete = HalfAsked

// Lost is the verdict of a packet that left one node and did not come to the bridge of
// the next one.
const Lost = "lost"

// LiveStep is a table that a real packet crossed.
type LiveStep struct {
	Table   string `json:"table"`
	Meaning string `json:"meaning"`
	// Registers are those that the table has written, by name.
	Registers map[string]uint32 `json:"registers,omitempty"`
}

// LiveNext is where a packet went on that left its node for another one.
type LiveNext struct {
	Node string `json:"node"`
	// By is ByTunnel or ByRoute, Via the node's underlay address that the packet was
	// sent to, empty if the underlay's routers have to know. TunnelSource is the
	// address that the tunnel's packet came from, empty if the host's routes choose.
	By           string `json:"by"`
	Via          string `json:"via,omitempty"`
	TunnelSource string `json:"tunnelSource,omitempty"`
	// From and To are the packet's ends when it left, with its ports where it has some.
	From LiveEnd `json:"from"`
	To   LiveEnd `json:"to"`
	// Arrived are its ends at the other node if they are others there: somebody has
	// translated it on its way.
	Arrived *[2]LiveEnd `json:"arrived,omitempty"`
	// Answer is its way through the other node. It is nil if it was not seen there or
	// the node was not asked, and then Problem says so. An agent by itself asks no
	// other: it leaves both empty.
	Answer  *LivePacket `json:"answer,omitempty"`
	Problem string      `json:"problem,omitempty"`
}

// LiveEnd is an address, with a port where there is one.
type LiveEnd struct {
	Addr string `json:"addr"`
	Port uint16 `json:"port,omitempty"`
}

// String is "10.244.0.5:80", or the address.
func (e LiveEnd) String() string {
	if a, err := netip.ParseAddr(e.Addr); err == nil && e.Port != 0 {
		return netip.AddrPortFrom(a, e.Port).String()
	}
	return e.Addr
}
