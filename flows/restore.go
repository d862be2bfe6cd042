package flows

import (
	"iter"
	"net/netip"
	"strconv"
	"strings"
)

// restored are the numbers that the flows of a bridge use, by what they were
// given to.
type restored struct {
	subject [2]map[uint32]uint32 // by ofport
	peer    [2]map[netip.Addr]uint32
	region  [2]map[netip.Prefix]uint32
}

func newRestored() *restored {
	r := &restored{}
	for _, d := range Directions {
		r.subject[d] = map[uint32]uint32{}
		r.peer[d] = map[netip.Addr]uint32{}
		r.region[d] = map[netip.Prefix]uint32{}
	}
	return r
}

// Restore tells a new pipeline which flows a bridge holds. Rules, identities,
// regions and pages then get the numbers they have there, so that what has not
// changed since needs no flow to be written, and the rule ids that live
// connections carry stay true. Flows that mean nothing to the pipeline are
// passed over. Restore is called before the first Apply, and Restored once
// everything there is has been applied.
func (p *Pipeline) Restore(actual iter.Seq[*Flow]) {
	r := p.restored
	for f := range actual {
		c := Cookie(f.Cookie)
		d := Egress
		switch Table(f.Table) {
		case TableIngressPeer, TableIngressBlock, TableIngressPolicy, TableRoute:
			d = Ingress
		}
		s, regs := p.sides[d], regsOf[d]
		switch c.Kind() {
		case KindPort:
			if t := Table(f.Table); t != TableConntrackState && t != TableRoute {
				continue
			}
			if class := setTo(f, regs.subject.String()); class != 0 {
				r.subject[d][uint32(c.Object())] = class
				s.subjects.reserve(class)
			}
		case KindEgressPeer, KindIngressPeer:
			if a, err := netip.ParseAddr(addressOf(f)); err == nil {
				r.peer[d][a] = uint32(c.Object())
				s.peers.reserve(uint32(c.Object()))
			}
		case KindEgressBlock, KindIngressBlock:
			if pfx, ok := prefixOf(f); ok {
				r.region[d][pfx] = uint32(c.Object())
				s.blocks.reserve(uint32(c.Object()))
			}
		case KindBalancer:
			if id := groupOf(f); id != 0 {
				p.balancers.groups.restore(c.Object(), id)
			}
		case KindFrontend:
			p.balancers.fronts.restore(c.Object(), number(matchOf(f, regFrontend.String())))
		case KindEndpoint:
			p.balancers.endpoints.restore(c.Object(), number(matchOf(f, regEndpoint.String())))
		case KindAffinity:
			p.balancers.fronts.reserve(number(matchOf(f, regFrontend.String())))
			p.balancers.endpoints.reserve(setTo(f, regEndpoint.String()))
		case KindEgressRule, KindIngressRule:
			s.rules.Restore(f.Cookie, number(matchOf(f, "conj_id")), number(matchOf(f, regs.page.String())))
		}
	}
}

// Restored forgets what Restore told: numbers that nothing has claimed are free.
func (p *Pipeline) Restored() {
	p.restored = newRestored()
	for _, s := range p.sides {
		s.rules.Restored()
	}
	p.balancers.restored()
}

// RestoreGroups is Restore for the groups a bridge holds; it is called after it.
func (p *Pipeline) RestoreGroups(actual iter.Seq[*Group]) {
	wholes := map[uint32]uint64{}
	for hash, id := range p.balancers.groups.restored {
		wholes[id] = hash
	}
	for g := range actual {
		p.balancers.groups.reserve(g.ID)
		whole, ok := wholes[g.ID]
		for i, b := range g.Buckets {
			if ok && len(b.Actions) == 1 && textOf(b.Actions[0]) == groupText(b.ID) {
				p.balancers.groups.restore(partHash(whole, i+1), b.ID)
			}
		}
	}
}

func (b *balancers) restored() {
	b.fronts.restored, b.endpoints.restored, b.groups.restored = nil, nil, nil
}

// groupOf returns the group a flow leads to, zero if to none.
func groupOf(f *Flow) uint32 {
	for _, a := range f.Actions {
		if id, ok := strings.CutPrefix(textOf(a), "group:"); ok {
			return number(id)
		}
	}
	return 0
}

func textOf(a Action) string {
	t, err := a.MarshalText()
	if err != nil {
		return ""
	}
	return string(t)
}

// matchOf returns the value a flow matches a field on, or nothing.
func matchOf(f *Flow, field string) string {
	for _, m := range f.Matches {
		t, err := m.MarshalText()
		if err != nil {
			continue
		}
		if v, ok := strings.CutPrefix(string(t), field+"="); ok {
			return v
		}
	}
	return ""
}

// addressOf returns the address a flow of a peer or block table matches.
func addressOf(f *Flow) string {
	for _, field := range []string{"nw_dst", "nw_src", "ipv6_dst", "ipv6_src"} {
		if v := matchOf(f, field); v != "" {
			return v
		}
	}
	return ""
}

func prefixOf(f *Flow) (netip.Prefix, bool) {
	v := addressOf(f)
	switch {
	case v != "":
	case f.Protocol == ipFamilies[0]:
		v = "0.0.0.0/0"
	default:
		v = "::/0"
	}
	if pfx, err := netip.ParsePrefix(v); err == nil {
		return pfx, true
	}
	a, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// setTo returns the number a flow writes into a register, zero if none.
func setTo(f *Flow, reg string) uint32 {
	for _, a := range f.Actions {
		v, ok := strings.CutPrefix(textOf(a), "set_field:")
		if !ok {
			continue
		}
		if v, field, ok := strings.Cut(v, "->"); ok && field == reg {
			return number(v)
		}
	}
	return 0
}

// number reads a 32-bit number in C syntax; what is none is zero.
func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
