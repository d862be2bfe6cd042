package nodes

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/ipam"
	"github.com/sluice-cni/sluice/pkg/route"
)

// Plan works out how this node reaches the others.
//
// Of nodes that claim ranges of pods which overlap, the older one keeps its own:
// all nodes agree on that, whatever the order in which they hear of it. Only its
// own ranges a node gives to nobody.
func (t *Table) Plan(cfg Config, local Local) *Plan {
	p := &Plan{Remotes: map[string]flows.Remote{}, PodCIDRs: slices.Clone(local.PodCIDRs)}
	var own []netip.Addr
	if n := t.Node(cfg.Node); n != nil {
		own = n.Internal
	}
	own = p.findUplink(cfg, local, own)
	p.TunnelSources = sources(own, local.Interfaces)
	var taken claims
	for _, c := range local.PodCIDRs {
		taken.add(c.Masked(), cfg.Node)
	}
	for _, n := range t.byAge() {
		if n.Name == cfg.Node {
			continue
		}
		w := way{cfg: cfg, local: local, node: n, tunnel: common(own, n.Internal)}
		for _, c := range n.PodCIDRs {
			c = c.Masked()
			if a := inside(c, local, n); a.IsValid() {
				p.problem(n.Name, "the pod range %s contains the address %s of a node, so no packet is sent there", c, a)
				continue
			}
			if other, ok := taken.add(c, n.Name); !ok {
				p.problem(n.Name, "the pod range %s overlaps %s of node %s, which keeps it", c, other.cidr, other.node)
				continue
			}
			p.PodCIDRs = append(p.PodCIDRs, c)
			p.add(w, c)
		}
	}
	p.workOutMTU(cfg, own)
	p.sort()
	return p
}

// way is the question how to reach the pods of a node.
type way struct {
	cfg    Config
	local  Local
	node   *cluster.Node
	tunnel netip.Addr // the node's end of the tunnel, if any
}

// add decides on one range of a node.
func (p *Plan) add(w way, cidr netip.Prefix) {
	n := w.node
	if w.cfg.Mode != Encap {
		if via, dev := neighbour(cidr.Addr(), n.Internal, w.local.Interfaces); via.IsValid() {
			p.Routes = append(p.Routes, route.Route{To: cidr, Via: via, Dev: dev})
			p.Ways = append(p.Ways, Way{Node: n.Name, CIDR: cidr, Kind: NoEncap, Via: via})
			return
		}
	}
	if w.cfg.Mode == NoEncap {
		p.Ways = append(p.Ways, Way{Node: n.Name, CIDR: cidr, Kind: NoEncap})
		return
	}
	switch {
	case len(n.Internal) == 0:
		p.problem(n.Name, "status.addresses has no InternalIP, so its pods in %s can't be reached", cidr)
		return
	case !w.tunnel.IsValid():
		p.problem(n.Name, "its InternalIP %s is of another family than this node's, so its pods in %s can't be reached", n.Internal[0], cidr)
		return
	}
	r := p.Remotes[n.Name]
	r.Tunnel = w.tunnel
	r.PodCIDRs = append(r.PodCIDRs, cidr)
	p.Remotes[n.Name] = r
	p.Routes = append(p.Routes, route.Route{
		To: cidr, Via: ipam.Gateway(cidr), Dev: w.cfg.Gateway, OnLink: true, Source: gateway(cidr.Addr(), w.local.PodCIDRs),
	})
	p.Ways = append(p.Ways, Way{Node: n.Name, CIDR: cidr, Kind: Encap, Via: w.tunnel})
}

// common returns the address of theirs to which packets are tunnelled: the first
// one of a family that both have. IPv4 comes first: it takes fewer bytes, and both
// ends have to choose alike.
func common(ours, theirs []netip.Addr) netip.Addr {
	for _, of := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		at := slices.IndexFunc(theirs, of)
		if at >= 0 && slices.ContainsFunc(ours, of) {
			return theirs[at]
		}
	}
	return netip.Addr{}
}

// sources returns what common makes other nodes send to, of each family, if an
// interface has it.
func sources(own []netip.Addr, interfaces []route.Interface) (out []netip.Addr) {
	for _, of := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		if at := slices.IndexFunc(own, of); at >= 0 && slices.ContainsFunc(interfaces, func(i route.Interface) bool { return has(i, own[at]) }) {
			out = append(out, own[at])
		}
	}
	return out
}

// has reports whether an interface has an address.
func has(i route.Interface, a netip.Addr) bool {
	return slices.ContainsFunc(i.Addrs, func(s netip.Prefix) bool { return s.Addr() == a })
}

// neighbour returns the first of a node's addresses that is of the family of a
// pod's and in a subnet of one of the interfaces, and the interface.
func neighbour(pod netip.Addr, addrs []netip.Addr, interfaces []route.Interface) (netip.Addr, string) {
	for _, a := range addrs {
		if a.Is4() != pod.Is4() {
			continue
		}
		for _, i := range interfaces {
			for _, s := range i.Addrs {
				if s.Masked().Contains(a) && s.Addr() != a {
					return a, i.Name
				}
			}
		}
	}
	return netip.Addr{}, ""
}

// gateway returns this node's gateway of the family of a pod's address: what its
// own packets to pods elsewhere have as their source, since answers to it find
// their way through the tunnel.
func gateway(pod netip.Addr, own []netip.Prefix) netip.Addr {
	for _, c := range own {
		if c.Addr().Is4() == pod.Is4() {
			return ipam.Gateway(c)
		}
	}
	return netip.Addr{}
}

// inside returns an address of this node, or of the other, that a pod range
// contains: packets to it, those of the tunnel too, would be taken for a pod's.
func inside(cidr netip.Prefix, local Local, n *cluster.Node) netip.Addr {
	for _, a := range n.Internal {
		if cidr.Contains(a) {
			return a
		}
	}
	for _, i := range local.Interfaces {
		for _, s := range i.Addrs {
			if cidr.Contains(s.Addr()) {
				return s.Addr()
			}
		}
	}
	return netip.Addr{}
}
