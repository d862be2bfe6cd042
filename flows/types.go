package flows

import (
	"net"
	"net/netip"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Flow is an OpenFlow flow in the terms of go-openvswitch.
type Flow = ovs.Flow

// Action is an action of a flow or bucket in the same terms.
type Action = ovs.Action

// Direction is the side of a connection on which a decision is taken, seen from
// the rule's subject.
type Direction uint8

// The directions of a decision. Egress is decided first, at the connection's
// source; Ingress after routing, at its destination.
const (
	Egress Direction = iota
	Ingress
)

// Directions lists both directions in the order in which a packet meets them.
var Directions = [2]Direction{Egress, Ingress}

// String returns "egress" or "ingress".
func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}

// Opposite returns the other direction.
func (d Direction) Opposite() Direction { return d ^ 1 }

// Term is a handle for a set of pods or addresses that rules refer to. Handles
// are the caller's: it gives the same handle to the same set for as long as any
// rule, port or peer names it. Zero is not a term.
//
// Subject terms and peer terms of each direction are separate spaces: Term 7 as
// a subject of egress has nothing to do with Term 7 as a peer of egress.
type Term uint32

// Transport protocol numbers (IANA protocol-numbers) a Service may name.
const (
	TCP  uint8 = 6
	UDP  uint8 = 17
	SCTP uint8 = 132
)

// Service is a transport protocol with a range of destination ports.
type Service struct {
	// Protocol is TCP, UDP or SCTP.
	Protocol uint8
	// Port is the first port of the range; zero means every port of the protocol.
	Port uint16
	// EndPort is the last port of the range, inclusive; zero means Port alone.
	EndPort uint16
}

// RuleKey names a rule for as long as it lives, across restarts and on every
// node alike: its conjunction id is found from it. For a Kubernetes policy it
// reads "NetworkPolicy/shop/db-guard/ingress/0"; a rule that must be split
// carries a suffix ("…/0#http=8080").
type RuleKey string

// Tier orders rules: all rules of a lower tier are asked before any of a higher
// one.
type Tier uint8

// TierNetworkPolicy holds the rules of networking.k8s.io/v1 NetworkPolicy:
// unordered, allow only.
const TierNetworkPolicy Tier = 1

// Rule allows the subjects to exchange the services with the peers. For Egress
// the subjects are connection sources and the peers destinations, for Ingress
// the other way round.
type Rule struct {
	Direction Direction
	Tier      Tier
	// Subjects are the subject terms of the rule, as a union. At least one.
	Subjects []Term
	// AnyPeer lets the rule match every address; Peers must then be empty.
	AnyPeer bool
	// Peers are the peer terms of the rule, as a union. Without AnyPeer and
	// without peers the rule matches nothing.
	Peers []Term
	// Services is a union; empty means all traffic of any protocol, ICMP too.
	Services []Service
}

// Subject says which subject terms select a port in one direction.
type Subject struct {
	// Terms are sorted and without duplicates.
	Terms []Term
	// Isolated is true if some policy of this direction selects the port: what
	// no rule allows is then dropped.
	Isolated bool
}

// Port is a pod's port on this node's bridge.
type Port struct {
	// Name is the name of the port and of its interface in OVSDB.
	Name string
	// OFPort is the OpenFlow port number, 1 to 65279.
	OFPort uint32
	// MAC is the pod's Ethernet address.
	MAC net.HardwareAddr
	// Addrs are the pod's addresses, at most one of each family.
	Addrs []netip.Addr
	// Subject is how rules of each direction see the port, indexed by Direction.
	Subject [2]Subject
	// Pending is true as long as it is not known which policies select the pod:
	// every new connection from and to it is then dropped, but for the node's.
	Pending bool
}

// Peer says which peer terms select a pod's address, indexed by the direction
// of the rules that name the terms.
type Peer struct {
	Terms [2][]Term // sorted, without duplicates
}

// Block is an ipBlock: the addresses of CIDR that lie in none of Except.
type Block struct {
	CIDR   netip.Prefix
	Except []netip.Prefix
}

// Node is what the pipeline must know of the node it runs on.
type Node struct {
	// GatewayOFPort is the OpenFlow port number of the gateway port, the bridge's
	// way to and from the node's own network stack.
	GatewayOFPort uint32
	// GatewayMAC is the Ethernet address of the gateway port's interface.
	GatewayMAC net.HardwareAddr
	// Gateways are the addresses pods use as their next hop, at most one of each
	// family. The bridge itself answers ARP and neighbour discovery for them.
	Gateways []netip.Addr
	// PodCIDRs are the node's own pod ranges, at most one of each family.
	PodCIDRs []netip.Prefix
	// Addrs are all addresses of the node: traffic from them through the gateway
	// port always reaches the pods of this node (probes).
	Addrs []netip.Addr
	// TunnelOFPort is the OpenFlow port number of the tunnel port, zero if there is
	// none. Its ends are set flow by flow.
	TunnelOFPort uint32
	// TunnelSources are the underlay addresses that the other nodes know this one
	// by, at most one of each family: they take packets of the tunnel from no other.
	// Without one of a family its packets have the source that the node's routes
	// choose.
	TunnelSources []netip.Addr
	// UserspaceConntrack is true on the netdev and dummy datapaths. Their connection
	// tracking knows no SCTP ports, so that one association would stand for all
	// between two addresses, and can't remove an ICMPv6 entry. There every packet
	// of these protocols from the side that began is judged, not only the first
	// one. See docs/datapaths.md.
	UserspaceConntrack bool
	// HostsAnswerND is true on the system datapath. It can't write the flags and the
	// option of a neighbour advertisement, so the bridge does not answer
	// solicitations there itself: it leads them to whom they ask for, the node or
	// the pod, and lets nothing through that is not checked to be their own.
	HostsAnswerND bool
	// ServiceHops are addresses, at most one of each family, that stand for the
	// bridge as the node's next hop to the addresses of Services, and that the node
	// sends connections to node ports to. Without one of a family the bridge balances
	// none of that family's connections.
	ServiceHops []netip.Addr
	// ServiceSources are addresses of the node's pod ranges, at most one of each
	// family, that no pod has. A balanced connection gets one as its source where
	// its answers would else not come back by this bridge.
	ServiceSources []netip.Addr
	// ServiceCIDRs are the ranges of cluster IPs: what in them no Service has is
	// refused at once.
	ServiceCIDRs []netip.Prefix
}

// Remote is another node of the cluster whose pods are reached through the tunnel
// port. Nodes that the underlay routes to need no Remote: their pods lie behind
// the gateway.
type Remote struct {
	// Tunnel is the node's underlay address: where packets to its pods are sent,
	// and the only one they are taken from.
	Tunnel netip.Addr
	// PodCIDRs are the node's pod ranges, its gateways' addresses the first of each.
	PodCIDRs []netip.Prefix
}

// RemoteMAC is the Ethernet address that stands for every other node's gateway:
// the node's own network stack sends to it, and no frame with it leaves the
// bridge but through the tunnel.
var RemoteMAC = net.HardwareAddr{0x0a, 0x58, 0xff, 0xff, 0xff, 0xfe}

// Delta is a change of what the pipeline has to enforce. Each list is applied
// in order; deltas name an object at most once.
type Delta struct {
	// Node, if set, replaces what is known of the node.
	Node *Node
	// Watch, if set, replaces which verdicts are told of.
	Watch *Watch
	// Live, if set, replaces which packets are followed.
	Live    *Live
	Remotes []RemoteChange
	Ports   []PortChange
	Peers   []PeerChange
	Blocks  []BlockChange
	Rules   []RuleChange
	// Balancers are changed in order, too; a frontend may go from one to another.
	Balancers []BalancerChange
}

// Empty reports whether the delta changes nothing.
func (d *Delta) Empty() bool {
	return d.Node == nil && d.Watch == nil && d.Live == nil && len(d.Remotes) == 0 && len(d.Ports) == 0 && len(d.Peers) == 0 && len(d.Blocks) == 0 && len(d.Rules) == 0 && len(d.Balancers) == 0
}

// RemoteChange sets another node, or removes it if Remote is nil.
type RemoteChange struct {
	Name   string
	Remote *Remote
}

// PortChange sets a port, or removes it if Port is nil.
type PortChange struct {
	Name string
	Port *Port
}

// PeerChange sets the peer terms of an address, or removes the address if Peer
// is nil.
type PeerChange struct {
	Addr netip.Addr
	Peer *Peer
}

// BlockChange makes a peer term of one direction stand for an ipBlock, or ends
// that if Block is nil.
type BlockChange struct {
	Direction Direction
	Term      Term
	Block     *Block
}

// RuleChange sets a rule, or removes it if Rule is nil.
type RuleChange struct {
	Key  RuleKey
	Rule *Rule
}

// Changes is what a Delta changes on the bridge, to be written as one atomic
// bundle. Flows in Delete are named by their match and priority; a flow whose
// actions or cookie change is in Add only, where it replaces what is there.
type Changes struct {
	Add    []*Flow
	Delete []*Flow
	// SetGroups are new or changed groups, whole; DeleteGroups are the ids of those
	// that are gone. Flows of Add may refer to the former.
	SetGroups    []*Group
	DeleteGroups []uint32
	// Narrows is true if a connection that was allowed before may now be denied, or
	// have lost its pod: live connections are then to be judged anew.
	Narrows bool
}

// Empty reports whether nothing changes.
func (c *Changes) Empty() bool {
	return len(c.Add) == 0 && len(c.Delete) == 0 && len(c.SetGroups) == 0 && len(c.DeleteGroups) == 0
}
