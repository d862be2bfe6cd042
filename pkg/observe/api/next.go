package api

// Ways from node to node.
const (
	// ByTunnel is through the tunnel, ByRoute as it is, into the underlay.
	ByTunnel = "encap"
	ByRoute  = "noEncap"
)

// Arrival says that a packet comes from another node: it is asked what becomes of
// it from there on.
type Arrival struct {
	// Node is the node that the packet has left, By how: ByTunnel or ByRoute.
	Node string `json:"node"`
	By   string `json:"by"`
	// TunnelSource is the underlay address that the tunnel's packet comes from.
	// Without one it is the address that this node knows the other by.
	TunnelSource string `json:"tunnelSource,omitempty"`
	// SourcePort is the packet's source port; zero for icmp, else any.
	SourcePort uint16 `json:"sourcePort,omitempty"`
}

// Next is where a packet goes on that leaves its node for another one.
type Next struct {
	Node string `json:"node"`
	// By is ByTunnel or ByRoute, Via the node's underlay address that the packet is
	// sent to, empty if the underlay's routers have to know.
	By  string `json:"by"`
	Via string `json:"via,omitempty"`
	// Ask is what to ask that node's agent: the packet as it arrives there, after all
	// that this node has made of its addresses and ports.
	Ask TraceRequest `json:"ask"`
	// Answer is what it says. It is nil if it was not asked or could not tell, and
	// then Problem says why. An agent by itself asks no other: it leaves both empty.
	Answer  *Explanation `json:"answer,omitempty"`
	Problem string       `json:"problem,omitempty"`
}
