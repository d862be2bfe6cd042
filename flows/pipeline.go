package flows

import (
	"cmp"
	"iter"
	"net/netip"
	"reflect"
	"slices"

	"github.com/sluice-cni/sluice/flows/conjunction"
	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// Pipeline is what one node has to enforce, and the flows that enforce it. It
// is not safe for concurrent use; it has one owner.
type Pipeline struct {
	node  *Node
	watch Watch
	live  Live
	base  []*Flow // the frame and the node's flows
	ports map[string]*port
	// remotes are the other nodes, by name.
	remotes   map[string]*remote
	sides     [2]*side
	balancers balancers
	// byAddr finds the port of a pod of this node.
	byAddr map[netip.Addr]*port
	// restored holds the numbers that a bridge's flows had, until Restored.
	restored *restored
}

// side is what belongs to one direction.
type side struct {
	subjects *classes // of ports
	peers    *classes // of pods' addresses
	blocks   *classes // of regions
	addrs    map[netip.Addr]uint32
	regions  *regions
	rules    *conjunction.Table
}

// port is a port with its flows as they were last given out.
type port struct {
	Port
	class [2]uint32
	flows []*Flow
}

// New returns a pipeline that knows nothing: without a node it has no flows,
// and the bridge's secure fail mode drops everything.
func New() *Pipeline { return newPipeline(conjunction.PageSize) }

func newPipeline(pageSize int) *Pipeline {
	p := &Pipeline{ports: map[string]*port{}, remotes: map[string]*remote{}, byAddr: map[netip.Addr]*port{}, balancers: newBalancers(), restored: newRestored()}
	for _, d := range Directions {
		t, r := tablesOf[d], regsOf[d]
		p.sides[d] = &side{
			subjects: newClasses(), peers: newClasses(), blocks: newClasses(),
			addrs: map[netip.Addr]uint32{}, regions: newRegions(),
			rules: conjunction.New(conjunction.Layout{
				Table: int(t.policy), Priority: priClause, ChainPriority: priChain,
				Page: r.page, Subject: r.subject, Peer: r.peer, Block: r.block,
				Rule: r.rule, Accepted: int(t.after), PageSize: pageSize,
				ClauseCookie: func(page uint32) uint64 { return uint64(NewCookie(kindOf(KindEgressClause, d), uint64(page))) },
			}),
		}
	}
	return p
}

// Apply changes what is enforced and returns the flows that change with it, at
// a cost proportional to the change. A delta that names something impossible
// (a port number out of range, a rule without subjects) is refused as a whole,
// with an error that names the object and the field; nothing has changed then.
func (p *Pipeline) Apply(d Delta) (Changes, error) {
	if err := p.validate(&d); err != nil {
		return Changes{}, err
	}
	var out Changes
	was, keys := p.node, p.changedBalancers(&d)
	before := p.balancersNow(keys)
	dirty := map[string]struct{}{} // ports
	if d.Watch != nil {
		p.watch = *d.Watch
	}
	if d.Live != nil {
		p.live = *d.Live
	}
	if d.Node != nil {
		p.node = d.Node
		out.Narrows = out.Narrows || p.base != nil
	}
	if p.node != nil && (d.Node != nil || d.Watch != nil || d.Live != nil) {
		base := p.baseFlows()
		out.diff(p.base, base)
		p.base = base
	}
	if d.Node != nil || d.Watch != nil {
		for name := range p.ports {
			dirty[name] = struct{}{}
		}
	}
	p.setRemotes(d.Remotes, d.Node != nil, &out)
	var gone []*port
	for _, c := range d.Ports {
		if old := p.ports[c.Name]; old != nil && c.Port == nil {
			gone = append(gone, old)
		}
		out.Narrows = p.setPort(c) || out.Narrows
		dirty[c.Name] = struct{}{}
	}
	for _, c := range d.Blocks {
		out.Narrows = p.sides[c.Direction].regions.set(c.Term, c.Block) || out.Narrows
	}
	for _, dir := range Directions {
		p.applyRegions(dir, &out)
		p.applyPeers(dir, d.Peers, &out)
	}
	for _, c := range d.Rules {
		out.Narrows = p.setRule(c) || out.Narrows
	}
	for _, dir := range Directions {
		s := p.sides[dir]
		s.settle()
		ch := s.rules.Take()
		out.Add, out.Delete = append(out.Add, ch.Add...), append(out.Delete, ch.Delete...)
		for _, class := range ch.Entries {
			for name, pt := range p.ports {
				if pt.class[dir] == class {
					dirty[name] = struct{}{}
				}
			}
		}
	}
	// All old port flows against all new ones: an address or port number may have
	// gone from one port to another.
	var old, now []*Flow
	for _, pt := range gone {
		old = append(old, pt.flows...)
	}
	for _, name := range flow.SortedKeys(dirty, cmp.Less[string]) {
		if pt := p.ports[name]; pt != nil {
			old = append(old, pt.flows...)
			pt.flows = p.portFlows(pt)
			now = append(now, pt.flows...)
		}
	}
	out.diff(old, now)
	p.applyBalancers(d.Balancers, keys, before, was, &out)
	return out, nil
}

func (c *Changes) diff(old, now []*Flow) {
	add, del := flow.Diff(old, now)
	c.Add, c.Delete = append(c.Add, add...), append(c.Delete, del...)
}

func (c *Changes) diffGroups(old, now []*Group) {
	was := make(map[uint32]*Group, len(old))
	for _, g := range old {
		was[g.ID] = g
	}
	for _, g := range now {
		if !reflect.DeepEqual(was[g.ID], g) {
			c.SetGroups = append(c.SetGroups, g)
		}
		delete(was, g.ID)
	}
	c.DeleteGroups = append(c.DeleteGroups, flow.SortedKeys(was, cmp.Less[uint32])...)
}

// setPort reports whether what is there of the port may now be denied more.
func (p *Pipeline) setPort(c PortChange) (narrows bool) {
	old, now := p.ports[c.Name], (*port)(nil)
	var was [2]uint32
	if old != nil {
		for _, d := range Directions {
			p.sides[d].subjects.release(old.class[d])
		}
		for _, a := range old.Addrs {
			if p.byAddr[a] == old {
				delete(p.byAddr, a)
			}
		}
		delete(p.ports, c.Name)
		was = old.class
	}
	if c.Port == nil {
		return old != nil
	}
	now = &port{Port: *c.Port}
	if old != nil {
		now.flows = old.flows
	}
	for _, d := range Directions {
		prefer := cmp.Or(was[d], p.restored.subject[d][c.Port.OFPort])
		terms := c.Port.Subject[d].Terms
		if c.Port.Pending {
			terms = nil
		}
		now.class[d] = p.sides[d].subjects.acquire(terms, prefer)
	}
	p.ports[c.Name] = now
	for _, a := range now.Addrs {
		p.byAddr[a] = now
	}
	return old != nil && old.narrowedBy(&now.Port)
}

// narrowedBy reports whether something that was allowed at a port may not be
// any more once it is as now.
func (p *port) narrowedBy(now *Port) bool {
	if now.Pending || !slices.Equal(p.Addrs, now.Addrs) {
		return true
	}
	for d, was := range p.Subject {
		if now.Subject[d].Isolated && (!was.Isolated || !subset(was.Terms, now.Subject[d].Terms)) {
			return true
		}
	}
	return false
}

// subset reports whether all of a is in b; both are sorted.
func subset(a, b []Term) bool {
	for _, t := range a {
		if _, in := slices.BinarySearch(b, t); !in {
			return false
		}
	}
	return true
}

// applyPeers first takes all changed addresses out of their classes: where all
// of a class moves on together it keeps its number, and no address's flow
// changes.
func (p *Pipeline) applyPeers(d Direction, changes []PeerChange, out *Changes) {
	s := p.sides[d]
	for _, c := range changes {
		was := s.addrs[c.Addr]
		if k := s.peers.byID[was]; k != nil {
			out.Narrows = out.Narrows || c.Peer == nil || !subset(k.terms, c.Peer.Terms[d])
		}
		s.peers.release(was)
	}
	for _, c := range changes {
		was, now := s.addrs[c.Addr], uint32(0)
		if c.Peer != nil {
			now = s.peers.acquire(c.Peer.Terms[d], cmp.Or(was, p.restored.peer[d][c.Addr]))
		}
		switch {
		case now == was:
		case now == 0:
			delete(s.addrs, c.Addr)
			out.Delete = append(out.Delete, peerFlow(d, c.Addr, was))
		default:
			s.addrs[c.Addr] = now
			out.Add = append(out.Add, peerFlow(d, c.Addr, now))
		}
	}
}

func (p *Pipeline) applyRegions(d Direction, out *Changes) {
	s := p.sides[d]
	dirty := flow.SortedKeys(s.regions.dirty, prefixLess)
	for _, pfx := range dirty {
		if g, ok := s.regions.tree.Get(pfx); ok {
			s.blocks.release(g.class)
		}
	}
	for _, pfx := range dirty {
		g, ok := s.regions.tree.Get(pfx)
		if !ok {
			continue
		}
		was := g.class
		if len(g.starts) == 0 && len(g.ends) == 0 {
			s.regions.tree.Delete(pfx)
			if g.emitted {
				out.Delete = append(out.Delete, regionFlow(d, pfx, was))
			}
			continue
		}
		g.class = s.blocks.acquire(s.regions.terms(pfx), cmp.Or(was, p.restored.region[d][pfx]))
		if g.class != was || !g.emitted {
			out.Add = append(out.Add, regionFlow(d, pfx, g.class))
			g.emitted = true
		}
	}
	clear(s.regions.dirty)
}

// setRule reports whether there was such a rule before, which may have allowed
// more.
func (p *Pipeline) setRule(c RuleChange) (replaced bool) {
	for d := range p.sides {
		_, there := p.RuleID(Direction(d), c.Key)
		replaced = replaced || there
	}
	if c.Rule == nil {
		for _, s := range p.sides {
			s.rules.DeleteRule(string(c.Key))
		}
		return replaced
	}
	r := conjunction.Rule{Subjects: numbers(c.Rule.Subjects), AnyPeer: c.Rule.AnyPeer, Peers: numbers(c.Rule.Peers)}
	for _, svc := range c.Rule.Services {
		r.Services = append(r.Services, masked(svc)...)
	}
	slices.SortFunc(r.Services, conjunction.Service.Compare)
	r.Services = slices.Compact(r.Services)
	p.sides[c.Rule.Direction.Opposite()].rules.DeleteRule(string(c.Key))
	p.sides[c.Rule.Direction].rules.SetRule(string(c.Key), uint64(RuleCookie(c.Rule.Direction, c.Key)), r)
	return replaced
}

// numbers returns the terms as a sorted set of plain numbers.
func numbers(ts []Term) []uint32 {
	out := make([]uint32, len(ts))
	for i, t := range ts {
		out[i] = uint32(t)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// settle tells the rules which classes have come and gone.
func (s *side) settle() {
	for kind, cs := range [...]*classes{conjunction.Subject: s.subjects, conjunction.Peer: s.peers, conjunction.Block: s.blocks} {
		for id := range cs.changed {
			s.rules.SetClass(conjunction.Kind(kind), id, cs.terms(id))
		}
		clear(cs.changed)
	}
}

// Flows yields all flows of the pipeline, table by table within each group of
// objects, in a fixed order.
func (p *Pipeline) Flows() iter.Seq[*Flow] {
	return func(yield func(*Flow) bool) {
		for _, f := range p.base {
			if !yield(f) {
				return
			}
		}
		for _, name := range flow.SortedKeys(p.remotes, cmp.Less[string]) {
			for _, f := range p.remotes[name].flows {
				if !yield(f) {
					return
				}
			}
		}
		for _, name := range flow.SortedKeys(p.ports, cmp.Less[string]) {
			for _, f := range p.ports[name].flows {
				if !yield(f) {
					return
				}
			}
		}
		for _, d := range Directions {
			s := p.sides[d]
			for _, a := range flow.SortedKeys(s.addrs, netip.Addr.Less) {
				if !yield(peerFlow(d, a, s.addrs[a])) {
					return
				}
			}
			for pfx, g := range s.regions.tree.AllSorted() {
				if !yield(regionFlow(d, pfx, g.class)) {
					return
				}
			}
			for f := range s.rules.Flows() {
				if !yield(f) {
					return
				}
			}
		}
		for f := range p.allBalancerFlows() {
			if !yield(f) {
				return
			}
		}
	}
}
