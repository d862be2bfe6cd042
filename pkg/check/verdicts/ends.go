package verdicts

import (
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// end is one end of connections.
type end struct {
	name string
	// port is the port of the bridge it is behind, for pods of this node.
	port string
	pod  cluster.Key // zero if it is no pod
	// addrs are at most one of each family.
	addrs []netip.Addr
	// node is true for this node itself.
	node bool
}

// addr returns the address of a family, 4 or 6, or the zero address.
func (e *end) addr(family int) netip.Addr {
	for _, a := range e.addrs {
		if a.Is4() == (family == 4) {
			return a
		}
	}
	return netip.Addr{}
}

// strangers are machines outside that no policy should know: addresses of
// documentation (RFC 5737, RFC 3849).
var strangers = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}

// maxOutside bounds the machines outside and pods elsewhere, each, that stand for
// all of them.
const maxOutside = 16

// outside returns ends that are no pods of this node: the node, machines outside
// that rules may tell apart, and some pods of other nodes. ranges are those of
// pods and Services, in which nothing else is.
func (s *snapshot) outside(node flows.Node, ranges []netip.Prefix, pick func(n int) []int) []end {
	out := []end{{name: "node " + s.node, addrs: node.Gateways, node: true}}
	var addrs []netip.Addr
	seen := map[netip.Addr]bool{}
	usable := func(a netip.Addr) bool {
		in := func(p netip.Prefix) bool { return p.Contains(a) }
		return a.IsValid() && a.IsGlobalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && !(a.Is4() && a.As4()[0] == 0) &&
			!seen[a] && !s.frontends[a] && s.byAddr[a] == nil && !slices.Contains(node.Addrs, a) &&
			!slices.ContainsFunc(ranges, in) && !slices.ContainsFunc(node.PodCIDRs, in)
	}
	add := func(a netip.Addr) {
		if usable(a) {
			seen[a] = true
			addrs = append(addrs, a)
		}
	}
	for _, b := range s.blocks() {
		for _, text := range append([]string{b.CIDR}, b.Except...) {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				continue
			}
			p = p.Masked()
			add(p.Addr())
			add(last(p))
			add(last(p).Next())
			add(p.Addr().Prev())
		}
	}
	for _, i := range pick(len(addrs)) {
		if len(out) > maxOutside {
			break
		}
		out = append(out, end{name: addrs[i].String(), addrs: []netip.Addr{addrs[i]}})
	}
	for _, a := range strangers {
		if usable(a) {
			out = append(out, end{name: a.String(), addrs: []netip.Addr{a}})
		}
	}
	others := pick(len(s.elsewhere))
	for _, i := range others[:min(len(others), maxOutside)] {
		out = append(out, s.elsewhere[i])
	}
	return out
}

// blocks are all of the policies'.
func (s *snapshot) blocks() (out []*networkingv1.IPBlock) {
	add := func(peers []networkingv1.NetworkPolicyPeer) {
		for _, p := range peers {
			if p.IPBlock != nil {
				out = append(out, p.IPBlock)
			}
		}
	}
	for _, n := range s.namespaces {
		for _, p := range s.policies[n.Name] {
			for _, r := range p.Spec.Ingress {
				add(r.From)
			}
			for _, r := range p.Spec.Egress {
				add(r.To)
			}
		}
	}
	return out
}

// last is the last address of a range.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
