package api

import "time"

// RuleStats tell how much a rule has been used.
type RuleStats struct {
	// Attempts is how many packets of new connections the rule allowed: the first of
	// each connection, and those that came before the other side had answered. On the
	// userspace datapath each packet of SCTP and ICMPv6 from the side that began
	// counts.
	Attempts uint64 `json:"attempts"`
	// Since is when counting began.
	Since time.Time `json:"since"`
	// Traffic is what the connections carried that the rule allowed; nil where the
	// datapath does not count that.
	Traffic *Traffic `json:"traffic,omitempty"`
}

// Traffic is what connections carried over their whole life.
type Traffic struct {
	// Connections is how many there were.
	Connections uint64 `json:"connections"`
	// Packets and Bytes are those of both directions; bytes from the IP header on.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// PolicyStats tell how much a policy has allowed and denied on this node.
type PolicyStats struct {
	// Allowed is how many attempts its rules allowed, those that are gone as well.
	Allowed Attempts `json:"allowed"`
	// Denied is how many attempts at the pods that it isolates no rule allowed. Each
	// is owed to all policies that isolate the pod, and counts at each of them.
	Denied Attempts  `json:"denied"`
	Since  time.Time `json:"since"`
	// Traffic is that of the rules that the policy has now; nil where the datapath
	// does not count, or there is no rule.
	Traffic *Traffic `json:"traffic,omitempty"`
}

// PortStats tell how much was denied at a pod.
type PortStats struct {
	// Denied is how many attempts no rule allowed while the pod was isolated, Pending
	// how many were denied while its policies were not known.
	Denied  Attempts  `json:"denied"`
	Pending Attempts  `json:"pending"`
	Since   time.Time `json:"since"`
}

// Attempts are counted by the direction of the verdict.
type Attempts struct {
	Egress  uint64 `json:"egress"`
	Ingress uint64 `json:"ingress"`
}

// Total returns the attempts of both directions.
func (a Attempts) Total() uint64 { return a.Egress + a.Ingress }
