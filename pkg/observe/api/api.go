// Package api is what the agent tells of itself on its socket, and what the CLI
// prints: plain data, stable in JSON and YAML.
package api

import "fmt"

// TraceRequest asks for the way of a connection's first packet.
type TraceRequest struct {
	// From and To are pods ("namespace/name") or addresses; To may be a Service too
	// (ServicePrefix), of which the protocol and the port are known then.
	From string `json:"from"`
	To   string `json:"to"`
	// Protocol is "tcp", "udp", "sctp" or "icmp" (ICMPv6 where the addresses are
	// IPv6).
	Protocol string `json:"protocol"`
	// Port is the destination port; zero for icmp.
	Port uint16 `json:"port,omitempty"`
	// Family is 4 or 6, or zero for the first that both ends have.
	Family int `json:"family,omitempty"`
	// Arrival is set if the packet comes from another node, as it is on the wire then:
	// From and To are its addresses. Nil means that it begins at From.
	Arrival *Arrival `json:"arrival,omitempty"`
}

// Verdicts of an explanation.
const (
	Allowed = "allowed"
	Denied  = "denied"
	// HalfAsked means that no node which was asked denies it, and that a node on its
	// way was not asked.
	HalfAsked = "incomplete"
)

// Explanation is the way of a packet and why it ended as it did. An agent tells of
// its own node, and if the packet goes on to another one, where (Next). Package
// across puts one explanation together from several nodes'.
type Explanation struct {
	// Node is the node whose agent tells.
	Node     string   `json:"node,omitempty"`
	From     Endpoint `json:"from"`
	To       Endpoint `json:"to"`
	Protocol string   `json:"protocol"`
	Port     uint16   `json:"port,omitempty"`
	// Verdict is "allowed" or "denied", Reason why, in one line. What an agent says by
	// itself is the verdict of its own node. Put together of several it is that of all,
	// and "incomplete" if one was not asked.
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	// Problem is why nothing is said of the node that the packet comes from, empty if
	// it comes from none.
	Problem string `json:"problem,omitempty"`
	// Service is the Service that the connection is to, nil if it is to none. To is
	// then its frontend, and Ingress the verdict at the endpoint that was chosen.
	Service *Balanced `json:"service,omitempty"`
	// Egress and Ingress are the verdicts at the source's and the destination's
	// pod; nil where that is no pod of this node, or was not reached.
	Egress  *Side `json:"egress,omitempty"`
	Ingress *Side `json:"ingress,omitempty"`
	// Steps are the tables the packet met, in order.
	Steps []Step `json:"steps"`
	// Megaflow is what the datapath would match of such packets, Output the name
	// or number of the port they leave by.
	Megaflow string `json:"megaflow,omitempty"`
	Output   string `json:"output,omitempty"`
	// Next is the other node that the packet goes on to, nil if it does not.
	Next *Next `json:"next,omitempty"`
}

// Endpoint is one end of a connection.
type Endpoint struct {
	Pod string `json:"pod,omitempty"`
	// Service is the Service with its port that has the address as a frontend:
	// "shop/web:http".
	Service string `json:"service,omitempty"`
	Addr    string `json:"addr"`
	// Node is the node in whose pod ranges the address lies, as far as a trace knows.
	Node string `json:"node,omitempty"`
	// Port is the bridge's port behind which the endpoint is.
	Port   string `json:"port,omitempty"`
	OFPort uint32 `json:"ofport,omitempty"`
}

// String returns the pod or Service with its address, or the address.
func (e Endpoint) String() string {
	if e.Service != "" {
		return fmt.Sprintf("Service %s (%s)", e.Service, e.Addr)
	}
	if e.Pod != "" {
		return fmt.Sprintf("%s (%s)", e.Pod, e.Addr)
	}
	return e.Addr
}

// Side is the verdict of one direction.
type Side struct {
	Direction string `json:"direction"`
	// Isolated is true if some policy of the direction selects the pod, IsolatedBy
	// which ones do.
	Isolated   bool     `json:"isolated"`
	IsolatedBy []string `json:"isolatedBy,omitempty"`
	// Pending is true if the pod's policies are not known yet.
	Pending bool `json:"pending,omitempty"`
	// AllowedBy is the rule that let the packet pass, nil if none did or none was
	// needed.
	AllowedBy *Rule `json:"allowedBy,omitempty"`
}

// Rule is a rule of a policy as it is in force.
type Rule struct {
	// Key names the rule: "NetworkPolicy/shop/db-guard/ingress/0".
	Key string `json:"key"`
	// Policy is "namespace/name", Index the rule's place in spec.ingress or
	// spec.egress.
	Policy    string `json:"policy"`
	Direction string `json:"direction"`
	Index     int    `json:"index"`
	// Text is the rule in words.
	Text string `json:"text"`
	// ID is the rule's conjunction id, the number in ct_label.
	ID uint32 `json:"id,omitempty"`
	// Stats is nil where nobody counts.
	Stats *RuleStats `json:"stats,omitempty"`
}

// Step is the packet's lookup in one table.
type Step struct {
	Table string `json:"table"`
	// Object is what the flow is for, "port/3" or "ingress-rule/5360a8b94b87".
	Object  string `json:"object,omitempty"`
	Meaning string `json:"meaning"`
	// Match, Priority and Actions are the flow in ovs-ofctl(8) syntax.
	Match    string   `json:"match,omitempty"`
	Priority int      `json:"priority"`
	Actions  []string `json:"actions,omitempty"`
}

// Port is a pod's port.
type Port struct {
	Name   string   `json:"name"`
	OFPort uint32   `json:"ofport"`
	Pod    string   `json:"pod"`
	UID    string   `json:"uid,omitempty"`
	MAC    string   `json:"mac"`
	Addrs  []string `json:"addrs"`
	// State is "open" (no policy selects the pod), "isolated" or "pending".
	State     string   `json:"state"`
	EgressBy  []string `json:"egressIsolatedBy,omitempty"`
	IngressBy []string `json:"ingressIsolatedBy,omitempty"`
	// Stats is nil where nobody counts, and where no default drop ever stood.
	Stats *PortStats `json:"stats,omitempty"`
}

// Policy is a NetworkPolicy of the cluster.
type Policy struct {
	Name     string   `json:"name"`
	Subjects string   `json:"subjects"`
	Isolates []string `json:"isolates"`
	// Active is true if the policy applies to a pod of this node.
	Active   bool     `json:"active"`
	Pods     []string `json:"pods,omitempty"`
	Rules    []Rule   `json:"rules,omitempty"`
	Problems []string `json:"problems,omitempty"`
	// Stats is nil where nobody counts, and for a policy that never applied here.
	Stats *PolicyStats `json:"stats,omitempty"`
}

// Identity is a class of pods' addresses that no rule of a direction tells
// apart.
type Identity struct {
	Direction string   `json:"direction"`
	ID        uint32   `json:"id"`
	Addrs     []string `json:"addrs"`
	Pods      []string `json:"pods,omitempty"`
}

// Flow is a flow that the bridge should hold.
type Flow struct {
	Table    string `json:"table"`
	Priority int    `json:"priority"`
	Object   string `json:"object"`
	Text     string `json:"text"`
}

// Status is the state of the agent.
type Status struct {
	Node    string `json:"node"`
	Bridge  string `json:"bridge"`
	Ready   bool   `json:"ready"`
	Bundles uint64 `json:"bundles"`
	Flows   uint64 `json:"flowChanges"`
	Cut     uint64 `json:"connectionsCut"`
	// Network is how other nodes are reached; nil if that is not known yet.
	Network *Network `json:"network,omitempty"`
	// Traffic is "counted", or "not counted: " and why: whether statistics have what
	// connections carried.
	Traffic string `json:"traffic,omitempty"`
}

// Error is the body of an answer that is none.
type Error struct {
	Message string `json:"error"`
}
