// Package oracle judges single connections by the Kubernetes NetworkPolicy API.
//
// It is a second, independent reading of the API to compare what is enforced
// with, in tests and, by "sluice check --policies", on a running node: it works
// on API objects as they are, asks every policy about every connection and keeps
// nothing between two questions. It shares no code with the policy compiler, so
// that a mistake has to be made twice to go unseen.
//
// What depends on time is not its business: a reply, a connection that outlives
// a policy change and the translation of a Service address are all judged
// elsewhere. A connection to a Service is asked about as it is after DNAT.
package oracle

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Cluster is all the oracle knows when it judges. The objects are only read.
type Cluster struct {
	Namespaces []*corev1.Namespace
	Pods       []*corev1.Pod
	Nodes      []*corev1.Node
	Policies   []*networkingv1.NetworkPolicy
}

// Key names a namespaced object.
type Key struct{ Namespace, Name string }

// String returns "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Endpoint is one end of a connection.
type Endpoint struct {
	// Pod is the pod whose port the packets pass; zero if that is not known or is
	// no pod. It decides whose subject the endpoint is, and nothing else: as a
	// peer an endpoint is judged by its address, which is all the other side sees.
	Pod Key
	// Addr is the address in the packets.
	Addr netip.Addr
}

// String returns the address, preceded by the pod if there is one.
func (e Endpoint) String() string {
	if e.Pod == (Key{}) {
		return e.Addr.String()
	}
	return fmt.Sprintf("%s(%s)", e.Pod, e.Addr)
}

// ICMP stands for ICMP over IPv4 and ICMPv6 over IPv6. It is not a protocol a
// policy can name.
const ICMP corev1.Protocol = "ICMP"

// Conn is the first packet of a connection.
type Conn struct {
	Src, Dst Endpoint
	// Protocol is TCP, UDP, SCTP or ICMP.
	Protocol corev1.Protocol
	// Port is the destination port; ICMP has none.
	Port uint16
	// FromOwnNode is true if the network stack of the destination's own node sends
	// the packet under an address its Node object does not list. An address it
	// does list needs no such mark.
	FromOwnNode bool
}

// String returns the connection on one line.
func (c Conn) String() string {
	s := fmt.Sprintf("%s -> %s %s", c.Src, c.Dst, c.Protocol)
	if c.Protocol != ICMP {
		s += fmt.Sprintf("/%d", c.Port)
	}
	if c.FromOwnNode {
		s += " from its own node"
	}
	return s
}

// GoString is String: failures of tests print many connections.
func (c Conn) GoString() string { return c.String() }

// RuleRef names a rule by its policy and its index in spec.ingress or
// spec.egress, whichever direction is spoken of.
type RuleRef struct {
	Policy Key
	Index  int
}

// Exemption is a reason to allow a connection without asking any policy.
type Exemption string

// The exemptions there are.
const (
	OwnAddress Exemption = "a pod always reaches its own address"
	OwnNode    Exemption = "a node always reaches its own pods"
)

// Side is the verdict of one direction.
type Side struct {
	// Subject is the pod that policies of this direction are asked about, zero if
	// there is none: then nothing limits this side.
	Subject Key
	// Node is the node of the subject, the one that has to enforce this side.
	Node string
	// Unknown is true if the packets pass the port of a pod that the cluster does
	// not have (yet): it is isolated, and nothing can allow.
	Unknown bool
	// Isolated is true if some policy selects the subject for this direction, or
	// if the subject is unknown.
	Isolated bool
	// IsolatedBy lists the policies that isolate, in the order of Cluster.Policies.
	IsolatedBy []Key
	// AllowedBy lists all rules that allow the connection, in the same order.
	AllowedBy []RuleRef
	// Exempt is not empty if this side is allowed whatever the policies say.
	Exempt Exemption
}

// Allowed reports whether this side lets the connection pass.
func (s Side) Allowed() bool { return !s.Isolated || s.Exempt != "" || len(s.AllowedBy) > 0 }

// Verdict is what the policies say of a connection.
type Verdict struct {
	// Allowed is true if both sides allow.
	Allowed bool
	// Egress is the side of the connection's source, Ingress of its destination.
	Egress, Ingress Side
}

// AllowedOn reports whether the named node lets the connection pass: each side
// is enforced by the node of its subject, and by no other. A port whose pod is
// unknown is taken to be on the named node: nobody else could have told of it.
func (v Verdict) AllowedOn(node string) bool {
	for _, s := range []Side{v.Egress, v.Ingress} {
		if (s.Node == node || s.Unknown) && !s.Allowed() {
			return false
		}
	}
	return true
}
