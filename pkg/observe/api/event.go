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
	// "icmp", "icmpv6" or a number, the ports zero where it has none.
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

// WatchStatus tells how complete the stream of events is.
type WatchStatus struct {
	// Denied and Allowed count verdicts by the flows' counters, Sampled those that
	// became events, Missed those that did not: over the meter's rate, or dropped by
	// a reader too slow.
	Denied  uint64 `json:"denied"`
	Allowed uint64 `json:"allowed"`
	Sampled uint64 `json:"sampled"`
	Missed  uint64 `json:"missed"`
	// Allows is true while verdicts that allow are asked for.
	Allows bool `json:"allows"`
}
