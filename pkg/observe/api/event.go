package api

import "time"

// Verdicts of events besides Allowed and Denied.
const (
	// Spoofed is a packet a pod may not send: a foreign MAC or address.
	Spoofed = "spoofed"
	// Invalid is a packet of no connection that begins none.
	Invalid = "invalid"
)

// Event is the verdict on a new connection as the bridge gave it.
type Event struct {
	// Seq counts the events of one run of the agent, from 1.
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Node string    `json:"node"`
	// From and To are the ends of the connection, Protocol "tcp", "udp", "sctp",
	// "icmp", "icmpv6" or the number of an IP protocol, and "arp" or "ethertype 0x88cc"
	// for what is not IP; the ports are zero where it has none. The sender is the pod
	// behind the port that the packet came from, whatever address it claims.
	From       Endpoint `json:"from"`
	To         Endpoint `json:"to"`
	Protocol   string   `json:"protocol"`
	SourcePort uint16   `json:"sourcePort,omitempty"`
	Port       uint16   `json:"port,omitempty"`
	// Verdict is "allowed", "denied", "spoofed" or "invalid"; Direction is which
	// side denied it: "egress", "ingress", or empty.
	Verdict   string `json:"verdict"`
	Direction string `json:"direction,omitempty"`
	// Policies are those the verdict is owed to: whose isolation denied it, or whose
	// rules allowed it.
	Policies []string `json:"policies,omitempty"`
	// Egress and Ingress are the rules that allowed it on either side, nil where
	// none was needed or it was not reached.
	Egress  *Rule `json:"egress,omitempty"`
	Ingress *Rule `json:"ingress,omitempty"`
	// Reason says it in one line.
	Reason string `json:"reason"`
}

// WatchLine is a line of the stream of events: one of the two.
type WatchLine struct {
	Event *Event `json:"event,omitempty"`
	// Lost is how many events this reader was too slow for since the line before.
	Lost uint64 `json:"lost,omitempty"`
}

// WatchStatus tells how complete the stream of events is. What is counted is
// counted since the agent started; flow counters lag behind by about a second.
type WatchStatus struct {
	// Denied counts denied packets and Allowed allowed connections by the flows'
	// counters.
	Denied  uint64 `json:"denied"`
	Allowed uint64 `json:"allowed"`
	// Sampled counts events. Missed counts the denied packets, and the connections
	// allowed while such are asked for, that did not become one: over a meter's rate,
	// or more than the agent could take.
	Sampled uint64 `json:"sampled"`
	Missed  uint64 `json:"missed"`
	// Lost counts events that were not passed on to a reader which was too slow.
	Lost uint64 `json:"lost"`
	// Allows is true while verdicts that allow are asked for, Readers how many read
	// the stream.
	Allows  bool `json:"allows"`
	Readers int  `json:"readers"`
	// Problem is why nothing is told, empty if there is no such reason.
	Problem string `json:"problem,omitempty"`
}
