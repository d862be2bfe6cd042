package api

import "time"

// LiveRequest asks to follow real packets through the bridge.
type LiveRequest struct {
	// From and To are pods ("namespace/name") or addresses: of who sends the packets,
	// and of whom they are sent to. One of them may be empty.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Protocol is "tcp", "udp", "sctp", "icmp" or empty for any, Port the destination
	// port, zero for any.
	Protocol string `json:"protocol,omitempty"`
	Port     uint16 `json:"port,omitempty"`
	// Seconds is how long to follow, at most 600.
	Seconds int `json:"seconds"`
}

// LivePacket is a real packet's way through the bridge.
type LivePacket struct {
	Time     time.Time `json:"time"`
	From     Endpoint  `json:"from"`
	To       Endpoint  `json:"to"`
	Protocol string    `json:"protocol"`
	// SourcePort and Port are zero where the protocol has none.
	SourcePort uint16 `json:"sourcePort,omitempty"`
	Port       uint16 `json:"port,omitempty"`
	// Verdict is as in Event, or "incomplete" if not all tables were told of.
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	// Steps are the tables it crossed, in order.
	Steps []LiveStep `json:"steps"`
}

// Incomplete is the verdict of a packet of which too little was told: over the
// meter's rate.
const Incomplete = "incomplete"

// LiveStep is a table that a real packet crossed.
type LiveStep struct {
	Table   string `json:"table"`
	Meaning string `json:"meaning"`
	// Registers are those that the table has written, by name.
	Registers map[string]uint32 `json:"registers,omitempty"`
}
