package flows

import (
	"net/netip"
	"time"
)

// BalancerKey names a balancer for as long as it stands, and across restarts:
// "namespace/service:port/ipv4", say.
type BalancerKey string

// Balancer spreads the connections to its frontends over endpoints. It is what
// one port of a Service is in one address family.
type Balancer struct {
	// Protocol is TCP, UDP or SCTP.
	Protocol uint8
	// Frontends are where clients connect to. No other balancer has any of them.
	Frontends []Frontend
	// Endpoints are who serves connections of each scope, indexed by Scope, without
	// duplicates. All is of the balancer's address family.
	Endpoints [2][]netip.AddrPort
	// Affinity is for how long after its last new connection a client is led to the
	// same endpoint again; zero for not at all. Whole seconds, at most 65535.
	Affinity time.Duration
}

// Scope says which of a balancer's endpoints a connection may go to.
type Scope uint8

// The scopes of endpoints.
const (
	// ScopeCluster are all that serve, on whatever node.
	ScopeCluster Scope = iota
	// ScopeLocal are those on this node.
	ScopeLocal
)

// Frontend is an address and a port that clients connect to.
type Frontend struct {
	// Addr is the address. It is not valid for a node port, which is at every
	// address of the node: Node.Addrs for pods, Node.ServiceHops for what the node's
	// stack leads to the bridge.
	Addr netip.Addr
	Port uint16
	// Inside is the scope for pods of this node and for the node's own processes,
	// Outside for all who come from elsewhere through the gateway port.
	Inside, Outside Scope
	// Sources, if not empty, are the ranges that clients connect from; others get no
	// answer. The node's own processes may connect if one of its addresses may. They
	// are for frontends with an address.
	Sources []netip.Prefix
}

// BalancerChange sets a balancer, or removes it if Balancer is nil.
type BalancerChange struct {
	Key      BalancerKey
	Balancer *Balancer
}

// Group is a select group: it leads each new connection to one of its buckets.
type Group struct {
	ID        uint32
	Selection Selection
	// Upper is true of a group that leads to others: it chooses by another hash than
	// these, though of the same.
	Upper   bool
	Buckets []Bucket
}

// Selection is how a group chooses.
type Selection uint8

// The selections of groups.
const (
	// SelectByDatapath hashes the connection in the datapath, at no upcall: dp_hash
	// (ovs-ofctl(8), Group Syntax).
	SelectByDatapath Selection = iota
	// SelectByConnection hashes the client's address and port in the switch, at an
	// upcall for each connection.
	SelectByConnection
	// SelectBySource hashes the client's address alone.
	SelectBySource
)

// Bucket is one way through a group. Its id stays the same for as long as what it
// leads to does.
type Bucket struct {
	ID      uint32
	Weight  uint16
	Actions []Action
}
