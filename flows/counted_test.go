package flows

import (
	"slices"
	"testing"
)

// Whoever reads counters asks the tables of CountedKinds alone.
func TestCountedFlowsStandInTheTablesOfTheirKind(t *testing.T) {
	p := New()
	ApplySample(t, p)
	seen := map[Kind]bool{}
	for f := range p.Flows() {
		kind := Cookie(f.Cookie).Kind()
		seen[kind] = true
		for _, c := range CountedKinds {
			switch {
			case c.Kind != kind:
			case c.Tables == nil:
				if Cookie(f.Cookie) != NewCookie(kind, 0) {
					t.Errorf("a flow of kind %s has the cookie %s", kind, Cookie(f.Cookie))
				}
			case !slices.Contains(c.Tables, Table(f.Table)):
				t.Errorf("a flow of kind %s stands in %s, which is none of its tables %v", kind, Table(f.Table), c.Tables)
			}
		}
	}
	for _, c := range CountedKinds {
		if !seen[c.Kind] {
			t.Errorf("the sample has no flow of kind %s", c.Kind)
		}
	}
}

func TestARulesFlowTellsItsIDAndCookie(t *testing.T) {
	p := New()
	ApplySample(t, p)
	rules := 0
	for f := range p.Flows() {
		d := Direction(Cookie(f.Cookie).Kind() - KindEgressRule)
		if d > Ingress {
			continue
		}
		rules++
		key, ok := p.RuleByID(d, RuleIDOf(f))
		if !ok || RuleCookie(d, key) != Cookie(f.Cookie) {
			t.Errorf("flow %s of %s says it is rule %q, whose cookie is %s", Cookie(f.Cookie), d, key, RuleCookie(d, key))
		}
	}
	if n := p.NumRules(Egress) + p.NumRules(Ingress); n != rules || n != len(Sample().Rules) {
		t.Errorf("%d rules and %d rules' flows, want %d", n, rules, len(Sample().Rules))
	}
	for _, d := range Directions {
		if n := p.NumIdentities(d); n != len(p.Identities(d)) {
			t.Errorf("%d identities of %s, listed are %d", n, d, len(p.Identities(d)))
		}
	}
}
