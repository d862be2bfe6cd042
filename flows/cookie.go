package flows

import (
	"fmt"
	"hash/fnv"
)

// Cookie is an OpenFlow cookie that says which object a flow is for: the upper
// 16 bits are its Kind, the lower 48 the object's number within the kind.
type Cookie uint64

// Kind is the kind of object a flow is for.
type Kind uint16

// The kinds of objects, and what number names one.
const (
	KindPipeline         Kind = 1 + iota // the frame of the pipeline; 0
	KindNode                             // the node: gateway, own addresses; 0
	KindPort                             // a pod's port; its ofport
	KindSpoof                            // what a port may not send; its ofport
	KindInvalid                          // packets of no connection that begin none; 0
	KindUnroutable                       // destinations that are not there; 0
	KindEgressIsolation                  // an isolated port's default drop; its ofport
	KindIngressIsolation                 // the same for ingress
	KindEgressPending                    // the drop of a port whose policies are unknown; its ofport
	KindIngressPending                   // the same for ingress
	KindEgressPeer                       // a pod's address as a peer; its identity
	KindIngressPeer                      // the same for ingress
	KindEgressBlock                      // a region of addresses; its number
	KindIngressBlock                     // the same for ingress
	KindEgressClause                     // a clause of conjunctions; its page
	KindIngressClause                    // the same for ingress
	KindEgressRule                       // a rule; a hash of its key
	KindIngressRule                      // the same for ingress
	KindRemote                           // another node; a hash of its name
	KindEncapsulated                     // pods' packets that other nodes would take for this node's; 0
	KindBalancer                         // a balancer's frontends; a hash of its key
	KindRefused                          // frontends that nobody serves: refused at once; the same
	KindUnserved                         // frontends that nobody here serves: dropped; the same
	KindFrontend                         // a frontend at one address; a hash of it
	KindEndpoint                         // an endpoint; a hash of it
	KindAffinity                         // a client's endpoint, learned by the switch; a hash of the balancer's key
	KindUnowned                          // Services' addresses and ports that no Service has: refused at once; 0
	KindDenied                           // what tells of denied packets; the ofport of their source
	KindAllowed                          // what tells of allowed connections; 0
	KindLive                             // what tells of packets that are followed; the table
)

var kindNames = map[Kind]string{
	KindPipeline: "pipeline", KindNode: "node", KindPort: "port", KindSpoof: "spoof", KindInvalid: "invalid",
	KindUnroutable: "unroutable", KindEgressIsolation: "egress-isolation", KindIngressIsolation: "ingress-isolation",
	KindEgressPending: "egress-pending", KindIngressPending: "ingress-pending",
	KindEgressPeer: "egress-peer", KindIngressPeer: "ingress-peer", KindEgressBlock: "egress-block", KindIngressBlock: "ingress-block",
	KindEgressClause: "egress-clause", KindIngressClause: "ingress-clause", KindEgressRule: "egress-rule", KindIngressRule: "ingress-rule", KindRemote: "remote",
	KindEncapsulated: "encapsulated",
	KindBalancer:     "service", KindRefused: "service-refused", KindUnserved: "service-unserved", KindFrontend: "frontend",
	KindEndpoint: "endpoint", KindAffinity: "affinity", KindUnowned: "service-unowned",
	KindDenied: "denied", KindAllowed: "allowed", KindLive: "live",
}

// String returns the kind's name, "ingress-rule".
func (k Kind) String() string {
	if n, ok := kindNames[k]; ok {
		return n
	}
	return fmt.Sprintf("kind-%d", uint16(k))
}

const objectMask = 1<<48 - 1

// NewCookie returns the cookie of an object.
func NewCookie(k Kind, object uint64) Cookie { return Cookie(uint64(k)<<48 | object&objectMask) }

// Kind returns the kind of object the cookie is for.
func (c Cookie) Kind() Kind { return Kind(c >> 48) }

// Object returns the number of the object within its kind.
func (c Cookie) Object() uint64 { return uint64(c) & objectMask }

// String returns "kind/object".
func (c Cookie) String() string {
	switch c.Kind() {
	case KindEgressRule, KindIngressRule, KindRemote, KindBalancer, KindRefused, KindUnserved, KindFrontend, KindEndpoint, KindAffinity:
		return fmt.Sprintf("%s/%012x", c.Kind(), c.Object())
	}
	return fmt.Sprintf("%s/%d", c.Kind(), c.Object())
}

// kindOf returns the kind of direction d where a kind exists once for each: e
// is egress's, ingress's follows it.
func kindOf(e Kind, d Direction) Kind { return e + Kind(d) }

// keyHash is the number of a rule or remote within its kind.
func keyHash[K ~string](k K) uint64 {
	h := fnv.New64a()
	h.Write([]byte(k))
	s := h.Sum64()
	return (s ^ s>>48) & objectMask
}
