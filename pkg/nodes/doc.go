// Package nodes works out how a node reaches the pods of the others: for every
// range of pods through the tunnel, by a route to its node, or by whatever the
// underlay knows; and what that leaves of the uplink's MTU.
//
// It decides and does nothing: a Table holds the cluster's nodes, Plan turns it,
// with the interfaces of this node, into tunnel peers for the bridge and routes
// for the kernel. Every node comes to the same decisions from the same objects.
package nodes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/route"
)

// Mode is how packets get from node to node.
type Mode string

// The modes.
const (
	// Encap sends all packets between nodes' pods through the tunnel.
	Encap Mode = "encap"
	// NoEncap sends them as they are: by a route to the node if it is in a subnet of
	// this one, else into the underlay, whose routers have to know the way.
	NoEncap Mode = "noEncap"
	// Hybrid sends them as they are to nodes in a subnet of this one, and through
	// the tunnel to others.
	Hybrid Mode = "hybrid"
)

// Modes lists the modes.
var Modes = []Mode{Encap, NoEncap, Hybrid}

// Tunnels lists the types of tunnel ports: Geneve (RFC 8926) and VXLAN (RFC
// 7348). They take the same bytes of a packet.
var Tunnels = []string{"geneve", "vxlan"}

// Config is what is chosen.
type Config struct {
	// Node is the name of this node.
	Node string
	Mode Mode
	// Gateway is the name of the interface behind which the pods are.
	Gateway string
	// MTU of the pods' interfaces in bytes; zero means worked out.
	MTU int
}

// Local is what this node is.
type Local struct {
	// PodCIDRs are its own pod ranges.
	PodCIDRs []netip.Prefix
	// Interfaces are those with addresses, without the gateway.
	Interfaces []route.Interface
}

// Plan is what follows.
type Plan struct {
	// Uplink is the interface that holds the address this node is known by, with
	// the MTU of it. Its name is empty if there is none.
	Uplink route.Interface
	// MTU of pods' interfaces, in bytes.
	MTU int
	// Remotes are the nodes behind the tunnel, by name.
	Remotes map[string]flows.Remote
	// TunnelSources are the addresses that other nodes take packets of the tunnel
	// from: this node's first of each family, if one of its interfaces has it.
	TunnelSources []netip.Addr
	// Routes are the kernel's routes to other nodes' pods.
	Routes []route.Route
	// PodCIDRs are all ranges of pods that are in use, this node's first.
	PodCIDRs []netip.Prefix
	// Ways says for each range of other nodes how it is reached, by node name.
	Ways []Way
	// Problems is what could not be used, by node name.
	Problems []Problem
}

// Way is how a range of pods is reached.
type Way struct {
	Node string
	CIDR netip.Prefix
	// Kind is Encap or NoEncap.
	Kind Mode
	// Via is the node's underlay address that packets are sent to. It is the zero
	// address if the underlay has to know.
	Via netip.Addr
}

// String is the way in words: "10.244.1.0/24 of node2: encap to 192.0.2.2".
func (w Way) String() string {
	if !w.Via.IsValid() {
		return fmt.Sprintf("%s of %s: left to the underlay's routers", w.CIDR, w.Node)
	}
	return fmt.Sprintf("%s of %s: %s to %s", w.CIDR, w.Node, w.Kind, w.Via)
}

// Problem is a fault of a node, as this one sees it.
type Problem struct {
	Node    string
	Message string
}

// String is "node n2: ...".
func (p Problem) String() string { return fmt.Sprintf("node %s: %s", p.Node, p.Message) }

func (p *Plan) problem(node, format string, args ...any) {
	p.Problems = append(p.Problems, Problem{node, fmt.Sprintf(format, args...)})
}

// sort puts what has no order of its own into one.
func (p *Plan) sort() {
	slices.SortStableFunc(p.Problems, func(a, b Problem) int { return strings.Compare(a.Node, b.Node) })
	slices.SortStableFunc(p.Ways, func(a, b Way) int { return strings.Compare(a.Node, b.Node) })
	slices.SortStableFunc(p.Routes, func(a, b route.Route) int { return a.To.Addr().Compare(b.To.Addr()) })
}
