package conjunction

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// membership is one conjunction() action of a clause's flow.
type membership struct {
	id      uint32
	k, dims uint8
}

// Take returns the flows that have changed since the last call, in a fixed
// order. It costs what the change costs.
func (t *Table) Take() Changes {
	var out Changes
	t.takeChains(&out)
	for _, c := range flow.SortedKeys(t.dirty.clauses, clauseLess) {
		was, there := t.emitted.clauses[c]
		actions := t.actions(c)
		switch {
		case len(actions) > 0:
			h := hash(actions)
			if !there || h != was {
				t.emitted.clauses[c] = h
				out.Add = append(out.Add, t.clauseFlow(c, actions))
			}
		case there:
			delete(t.emitted.clauses, c)
			out.Delete = append(out.Delete, t.clauseFlow(c, nil))
		}
	}
	for _, id := range flow.SortedKeys(t.dirty.rules, cmp.Less[uint32]) {
		r, page := t.dirty.rules[id], t.emitted.rules[id]
		if page != 0 && (r == nil || r.page != page) {
			delete(t.emitted.rules, id)
			out.Delete = append(out.Delete, t.ruleFlow(id, page, t.gone[id]))
		}
		if r != nil {
			t.emitted.rules[id] = r.page
			out.Add = append(out.Add, t.ruleFlow(id, r.page, r.cookie))
		}
	}
	t.clean()
	clear(t.gone)
	return out
}

func (t *Table) takeChains(out *Changes) {
	for _, class := range flow.SortedKeys(t.dirty.chains, cmp.Less[uint32]) {
		was, chain := t.emitted.chains[class], t.Chain(class)
		entry := t.Entry(class)
		if len(chain) > 0 {
			t.emitted.chains[class] = chain
		} else {
			delete(t.emitted.chains, class)
		}
		if t.Entry(class) != entry {
			out.Entries = append(out.Entries, class)
		}
		// Most links of a long chain stay, and making their flows is what costs.
		for i := 1; i < len(chain); i++ {
			if from, to := chain[i-1], chain[i]; after(was, from) != to {
				out.Add = append(out.Add, t.linkFlow(class, from, to))
			}
		}
		for i := 1; i < len(was); i++ {
			if from, to := was[i-1], was[i]; after(chain, from) == 0 {
				out.Delete = append(out.Delete, t.linkFlow(class, from, to))
			}
		}
	}
}

// after returns the page that follows a page in a chain, zero if none does.
func after(chain []uint32, page uint32) uint32 {
	i, found := slices.BinarySearch(chain, page)
	if !found || i+1 == len(chain) {
		return 0
	}
	return chain[i+1]
}

// actions returns the memberships of a clause: which rules of its page have it,
// by id.
func (t *Table) actions(c clause) []membership {
	var ms []membership
	add := func(rs []*rule, k func(*rule) int) {
		for _, r := range rs {
			ms = append(ms, membership{r.id, uint8(k(r)), uint8(r.dims())})
		}
	}
	first, second := func(*rule) int { return 1 }, func(*rule) int { return 2 }
	switch c.kind {
	case clauseSubject:
		for _, term := range t.classes[Subject][c.class] {
			add(t.byTerm[Subject][term][c.page], first)
		}
	case clausePeer, clauseBlock:
		for _, term := range t.classes[Kind(c.kind)][c.class] {
			add(t.byTerm[Peer][term][c.page], second)
		}
	case clauseAny:
		add(t.trivial[c.page], second)
	default:
		add(t.byService[c.page][c.svc], (*rule).serviceDim)
	}
	// A rule may have a class by more than one of its terms.
	slices.SortFunc(ms, func(a, b membership) int { return cmp.Compare(a.id, b.id) })
	return slices.Compact(ms)
}

func hash(ms []membership) uint64 {
	h := fnv.New64a()
	var b [6]byte
	for _, m := range ms {
		binary.LittleEndian.PutUint32(b[:], m.id)
		b[4], b[5] = m.k, m.dims
		h.Write(b[:])
	}
	return h.Sum64()
}

func (t *Table) clauseFlow(c clause, ms []membership) *ovs.Flow {
	f := &ovs.Flow{
		Table: t.layout.Table, Priority: t.layout.Priority, Cookie: t.layout.ClauseCookie(c.page),
		Matches: []ovs.Match{flow.Is(t.layout.Page, c.page)},
		Actions: make([]ovs.Action, 0, len(ms)),
	}
	switch c.kind {
	case clauseSubject:
		f.Matches = append(f.Matches, flow.Is(t.layout.Subject, c.class))
	case clausePeer:
		f.Matches = append(f.Matches, flow.Is(t.layout.Peer, c.class))
	case clauseBlock:
		f.Matches = append(f.Matches, flow.Is(t.layout.Block, c.class))
	case clauseService4, clauseService6:
		f.Protocol = protocol(c.svc.Protocol, c.kind == clauseService6)
		switch c.svc.Mask {
		case 0:
		case 0xffff:
			f.Matches = append(f.Matches, flow.Match("tp_dst", strconv.Itoa(int(c.svc.Port))))
		default:
			f.Matches = append(f.Matches, flow.Match("tp_dst", fmt.Sprintf("%#x/%#x", c.svc.Port, c.svc.Mask)))
		}
	}
	for _, m := range ms {
		f.Actions = append(f.Actions, ovs.Conjunction(int(m.id), int(m.k), int(m.dims)))
	}
	return f
}

func protocol(number uint8, v6 bool) ovs.Protocol {
	p := map[uint8]string{6: "tcp", 17: "udp", 132: "sctp"}[number]
	if v6 {
		p += "6"
	}
	return ovs.Protocol(p)
}

// ruleFlow is the flow of a conjunction that matched: it notes the rule.
func (t *Table) ruleFlow(id, page uint32, cookie uint64) *ovs.Flow {
	return &ovs.Flow{
		Table: t.layout.Table, Priority: t.layout.Priority, Cookie: cookie,
		Matches: []ovs.Match{flow.Is(t.layout.Page, page), flow.Match("conj_id", strconv.FormatUint(uint64(id), 10))},
		Actions: []ovs.Action{flow.Set(t.layout.Rule, id), flow.Goto(t.layout.Accepted)},
	}
}

// linkFlow leads a subject class from a page of its chain that misses to the
// next one.
func (t *Table) linkFlow(class, from, to uint32) *ovs.Flow {
	return &ovs.Flow{
		Table: t.layout.Table, Priority: t.layout.ChainPriority, Cookie: t.layout.ClauseCookie(from),
		Matches: []ovs.Match{flow.Is(t.layout.Page, from), flow.Is(t.layout.Subject, class)},
		Actions: []ovs.Action{flow.Set(t.layout.Page, to), ovs.Resubmit(0, t.layout.Table)},
	}
}
