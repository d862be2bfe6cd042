package flows

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// balancers is what a pipeline knows of Services.
type balancers struct {
	byKey map[BalancerKey]*Balancer
	// at finds the balancer that has a frontend.
	at        map[spot]BalancerKey
	fronts    *numbering[front]
	endpoints *numbering[endpoint]
	groups    *numbering[groupKey]
}

// front is a frontend at one address whose clients go to one scope. A node port and
// another balancer's frontend may be at the same address.
type front struct {
	protocol uint8
	at       netip.AddrPort
	scope    Scope
	nodePort bool
}

// endpoint is an endpoint of whatever balancers lead to it.
type endpoint struct {
	protocol uint8
	at       netip.AddrPort
}

// groupKey names a group: the whole of a balancer's scope is part 0, groups under
// one that is too large for a message are the parts from 1 on.
type groupKey struct {
	balancer BalancerKey
	scope    Scope
	part     int
}

func newBalancers() balancers {
	return balancers{
		byKey: map[BalancerKey]*Balancer{}, at: map[spot]BalancerKey{},
		fronts: newNumbering[front](), endpoints: newNumbering[endpoint](), groups: newNumbering[groupKey](),
	}
}

// scopes are those a balancer's frontends use.
func (b *Balancer) scopes() (used [2]bool) {
	for _, f := range b.Frontends {
		used[f.Inside], used[f.Outside] = true, true
	}
	return used
}

// family returns an address of the balancer's family; it is not valid if nothing
// says the family.
func (b *Balancer) family() netip.Addr {
	for _, f := range b.Frontends {
		if f.Addr.IsValid() {
			return f.Addr
		}
	}
	for _, eps := range b.Endpoints {
		if len(eps) > 0 {
			return eps[0].Addr()
		}
	}
	return netip.Addr{}
}

// balanced are the flows and groups of balancers that depend on no other's.
type balanced struct {
	flows  []*Flow
	groups []*Group
}

// balancersNow renders the named balancers as they are known now.
func (p *Pipeline) balancersNow(keys []BalancerKey) (out balanced) {
	for _, k := range keys {
		if b := p.balancers.byKey[k]; b != nil {
			fs := p.balancerFlows(k, b)
			out.flows = append(out.flows, fs...)
			out.groups = append(out.groups, p.balancerGroups(k, b, fs)...)
		}
	}
	return out
}

// changedBalancers are the balancers whose flows a delta may change, in order.
func (p *Pipeline) changedBalancers(d *Delta) []BalancerKey {
	if d.Node != nil {
		keys := flow.SortedKeys(p.balancers.byKey, cmp.Less[BalancerKey])
		for _, c := range d.Balancers {
			keys = append(keys, c.Key)
		}
		slices.Sort(keys)
		return slices.Compact(keys)
	}
	keys := make([]BalancerKey, 0, len(d.Balancers))
	for _, c := range d.Balancers {
		keys = append(keys, c.Key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// applyBalancers enters changes, once the node is the new one. Before is what
// there was of the keys, under the node that was.
func (p *Pipeline) applyBalancers(changes []BalancerChange, keys []BalancerKey, before balanced, was *Node, out *Changes) {
	if len(keys) == 0 {
		return
	}
	s := &p.balancers
	old := make([]*Balancer, len(keys))
	for i, k := range keys {
		old[i] = s.byKey[k]
	}
	for _, c := range changes {
		was := s.byKey[c.Key]
		out.Narrows = out.Narrows || strands(was, c.Balancer)
		for f := range was.spots() {
			if s.at[f] == c.Key {
				delete(s.at, f)
			}
		}
		delete(s.byKey, c.Key)
		if c.Balancer != nil {
			s.byKey[c.Key] = c.Balancer
			for f := range c.Balancer.spots() {
				s.at[f] = c.Key
			}
		}
	}
	// What is now is taken before what was is given up: what both have keeps its
	// number.
	for _, k := range keys {
		p.hold(k, s.byKey[k], p.node, out)
	}
	now := p.balancersNow(keys)
	for i, k := range keys {
		p.letGo(k, old[i], was, out)
	}
	out.diff(before.flows, now.flows)
	out.diffGroups(before.groups, now.groups)
}

// strands reports whether connections may stand that no longer lead to who serves
// them. A TCP connection ends with its endpoint; nobody tells the client of the
// others, for as long as it sends.
func strands(old, now *Balancer) bool {
	switch {
	case old == nil:
		return now != nil && now.Protocol != TCP // its addresses may have been refused
	case old.Protocol == TCP:
		return false
	case now == nil, !maps.Equal(old.spots(), now.spots()):
		return true // a frontend may have gone to another, or come from there
	}
	for s, eps := range old.Endpoints {
		if len(eps) == 0 && len(now.Endpoints[s]) > 0 {
			return true // refused ones are there
		}
		for _, e := range eps {
			if !slices.Contains(now.Endpoints[s], e) {
				return true
			}
		}
	}
	return false
}

// frontsOf yields the frontends of a balancer on a node, each at one address.
func frontsOf(b *Balancer, n *Node) iter.Seq[front] {
	return func(yield func(front) bool) {
		if b == nil || n == nil {
			return
		}
		family := b.family()
		for _, f := range b.Frontends {
			for _, a := range n.AddrsOf(f, family) {
				at := netip.AddrPortFrom(a, f.Port)
				nodePort := !f.Addr.IsValid()
				if !yield(front{b.Protocol, at, f.Inside, nodePort}) || f.Outside != f.Inside && !yield(front{b.Protocol, at, f.Outside, nodePort}) {
					return
				}
			}
		}
	}
}

// AddrsOf returns the addresses of a family that a frontend is at on the node. At a
// hop there are node ports alone, whatever addresses Services ask for.
func (n *Node) AddrsOf(f Frontend, family netip.Addr) []netip.Addr {
	switch {
	case slices.Contains(n.ServiceHops, f.Addr):
		return nil
	case f.Addr.IsValid():
		return []netip.Addr{f.Addr}
	}
	var out []netip.Addr
	for _, a := range slices.Concat(n.ServiceHops, n.Addrs) {
		if family.IsValid() && a.Is4() == family.Is4() {
			out = append(out, a)
		}
	}
	return out
}

// endpointsOf yields the endpoints of a balancer, each once.
func endpointsOf(b *Balancer) iter.Seq[endpoint] {
	return func(yield func(endpoint) bool) {
		if b == nil {
			return
		}
		used := b.scopes()
		for s, eps := range b.Endpoints {
			for _, e := range eps {
				seen := s > 0 && used[0] && slices.Contains(b.Endpoints[0], e)
				if used[s] && !seen && !yield(endpoint{b.Protocol, e}) {
					return
				}
			}
		}
	}
}

// hold takes the numbers a balancer needs, and adds the flows of those that
// nobody held.
func (p *Pipeline) hold(k BalancerKey, b *Balancer, n *Node, out *Changes) {
	s := &p.balancers
	for f := range frontsOf(b, n) {
		if id, first := s.fronts.acquire(f, f.hash()); first {
			out.Add = append(out.Add, frontFlow(id, f))
		}
	}
	for e := range endpointsOf(b) {
		if id, first := s.endpoints.acquire(e, e.hash()); first {
			out.Add = append(out.Add, endpointFlow(id, e))
		}
	}
	for g := range p.groupsOf(k, b) {
		s.groups.acquire(g, g.hash())
	}
}

// letGo gives up what hold took.
func (p *Pipeline) letGo(k BalancerKey, b *Balancer, n *Node, out *Changes) {
	s := &p.balancers
	// Groups go first: which there are depends on the numbers of the endpoints.
	for g := range p.groupsOf(k, b) {
		s.groups.release(g)
	}
	for f := range frontsOf(b, n) {
		if id, last := s.fronts.release(f); last {
			out.Delete = append(out.Delete, frontFlow(id, f))
		}
	}
	for e := range endpointsOf(b) {
		if id, last := s.endpoints.release(e); last {
			out.Delete = append(out.Delete, endpointFlow(id, e))
		}
	}
}

// flows yields the flows of all balancers, in a fixed order.
func (p *Pipeline) allBalancerFlows() iter.Seq[*Flow] {
	s := &p.balancers
	return func(yield func(*Flow) bool) {
		for _, k := range flow.SortedKeys(s.byKey, cmp.Less[BalancerKey]) {
			for _, f := range p.balancerFlows(k, s.byKey[k]) {
				if !yield(f) {
					return
				}
			}
		}
		for _, id := range flow.SortedKeys(s.fronts.byID, cmp.Less[uint32]) {
			if !yield(frontFlow(id, s.fronts.byID[id])) {
				return
			}
		}
		for _, id := range flow.SortedKeys(s.endpoints.byID, cmp.Less[uint32]) {
			if !yield(endpointFlow(id, s.endpoints.byID[id])) {
				return
			}
		}
	}
}

// Groups yields all groups of the pipeline, in a fixed order.
func (p *Pipeline) Groups() iter.Seq[*Group] {
	return func(yield func(*Group) bool) {
		for _, k := range flow.SortedKeys(p.balancers.byKey, cmp.Less[BalancerKey]) {
			for _, g := range p.balancersNow([]BalancerKey{k}).groups {
				if !yield(g) {
					return
				}
			}
		}
	}
}
