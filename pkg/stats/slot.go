package stats

import (
	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// slot is a flow on the bridge whose counter is followed, or several of the same
// object that are added up.
type slot struct {
	// Last is what the counter was at the last reading.
	Last uint64 `json:"last,omitempty"`
	Kind flows.Kind
	// Rule and Policy are of a rule's flow.
	Rule   flows.RuleKey `json:"rule,omitempty"`
	Policy cluster.Key   `json:"policy,omitzero"`
	// Port and Pod are of the flows of a port, By the policies that isolate it.
	Port string        `json:"port,omitempty"`
	Pod  cluster.Key   `json:"pod,omitzero"`
	By   []cluster.Key `json:"by,omitempty"`
}

// slotID names a slot: a cookie. The drops of a port, be it isolated or pending,
// share one, as they share a match: each goes on with the counter of the other.
type slotID uint64

func idOf(c flows.Cookie) slotID {
	switch c.Kind() {
	case flows.KindEgressPending:
		c = flows.NewCookie(flows.KindEgressIsolation, c.Object())
	case flows.KindIngressPending:
		c = flows.NewCookie(flows.KindIngressIsolation, c.Object())
	}
	return slotID(c)
}

// directionOf returns the direction of a kind that exists once for each.
func directionOf(k flows.Kind) flows.Direction {
	switch k {
	case flows.KindIngressRule, flows.KindIngressIsolation, flows.KindIngressPending:
		return flows.Ingress
	}
	return flows.Egress
}

// counted tells which kinds of flows are followed.
var counted = func() map[flows.Kind]bool {
	m := map[flows.Kind]bool{}
	for _, c := range flows.CountedKinds {
		m[c.Kind] = true
	}
	return m
}()

// allQueries ask for all flows that are followed.
var allQueries = func() (out []openflow.CounterQuery) {
	for _, c := range flows.CountedKinds {
		cookie := uint64(flows.NewCookie(c.Kind, 0))
		if c.Tables == nil {
			out = append(out, openflow.CounterQuery{Table: openflow.AllTables, Cookie: cookie, Mask: ^uint64(0)})
		}
		for _, t := range c.Tables {
			out = append(out, openflow.CounterQuery{Table: uint8(t), Cookie: cookie, Mask: flows.KindMask})
		}
	}
	return out
}()

// queriesOf ask for the flows that may stand in a slot.
func queriesOf(id slotID) []openflow.CounterQuery {
	c := flows.Cookie(id)
	exact := func(k flows.Kind) openflow.CounterQuery {
		return openflow.CounterQuery{Table: openflow.AllTables, Cookie: uint64(flows.NewCookie(k, c.Object())), Mask: ^uint64(0)}
	}
	switch k := c.Kind(); k {
	case flows.KindEgressIsolation, flows.KindIngressIsolation:
		return []openflow.CounterQuery{exact(k), exact(k + flows.KindEgressPending - flows.KindEgressIsolation)}
	default:
		return []openflow.CounterQuery{exact(k)}
	}
}

// describe says whose a flow is, by what the enforcer knows now. ports finds a
// port's name by its number.
func describe(v enforce.View, c flows.Cookie, conjID uint32, ports map[uint32]string) *slot {
	s := &slot{Kind: c.Kind()}
	switch d := directionOf(s.Kind); s.Kind {
	case flows.KindEgressRule, flows.KindIngressRule:
		key, ok := v.Pipeline().RuleByID(d, conjID)
		if !ok || flows.RuleCookie(d, key) != c {
			break // nobody's: counted as a verdict only
		}
		s.Rule = key
		if info, ok := v.Compiler().RuleOf(key); ok {
			s.Policy = info.Policy
		}
	case flows.KindEgressIsolation, flows.KindIngressIsolation, flows.KindEgressPending, flows.KindIngressPending:
		if p, ok := v.Port(ports[uint32(c.Object())]); ok {
			s.Port, s.Pod, s.By = p.Name, p.Pod, v.Compiler().Isolating(p.Pod, d)
		}
	}
	return s
}

// portNames are the names of ports by number.
func portNames(v enforce.View) map[uint32]string {
	names := make(map[uint32]string, len(v.Ports()))
	for name, p := range v.Ports() {
		names[p.OFPort] = name
	}
	return names
}
