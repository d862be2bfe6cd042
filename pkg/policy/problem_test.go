package policy

import (
	"strings"
	"testing"
)

// TestBadInputClosesItsRule checks that the rule with a bad field matches
// nothing, that the policy isolates, and that the rule beside it goes on.
func TestBadInputClosesItsRule(t *testing.T) {
	for _, c := range []struct {
		name, rule, field, message string
	}{
		{"an except outside its cidr", `{from: [{podSelector: {}}, {ipBlock: {cidr: 10.0.0.0/24, except: [10.0.1.0/24]}}]}`,
			"from[1].ipBlock.except[0]", "10.0.1.0/24 does not lie within 10.0.0.0/24"},
		{"an except wider than its cidr", `{from: [{ipBlock: {cidr: 10.0.0.0/24, except: [10.0.0.0/25, 10.0.0.0/16]}}]}`,
			"from[0].ipBlock.except[1]", "does not lie within"},
		{"an except of the other family", `{from: [{ipBlock: {cidr: 0.0.0.0/0, except: ["fd00::/64"]}}]}`,
			"from[0].ipBlock.except[0]", "does not lie within"},
		{"an except that is no CIDR", `{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.1]}}]}`,
			"from[0].ipBlock.except[0]", `"10.0.0.1" is no CIDR`},
		{"a cidr that is no CIDR", `{from: [{ipBlock: {cidr: 10.0.0/8}}]}`, "from[0].ipBlock.cidr", `"10.0.0/8" is no CIDR`},
		{"an empty cidr", `{from: [{ipBlock: {cidr: ""}}]}`, "from[0].ipBlock.cidr", `"" is no CIDR`},
		{"an ipBlock with a selector", `{from: [{ipBlock: {cidr: 0.0.0.0/0}, podSelector: {}}]}`, "from[0]", "can't be combined"},
		{"a peer that is empty", `{from: [{}]}`, "from[0]", "neither"},
		{"a selector without values", `{from: [{podSelector: {matchExpressions: [{key: a, operator: In}]}}]}`,
			"from[0].podSelector.matchExpressions[0]", "values"},
		{"a selector with an unknown operator", `{from: [{namespaceSelector: {matchExpressions: [{key: a, operator: Near}]}}]}`,
			"from[0].namespaceSelector.matchExpressions[0].operator", `"Near" is not one of`},
		{"a selector with a bad key", `{from: [{podSelector: {matchLabels: {"a b": c}}}]}`,
			"from[0].podSelector.matchLabels[a b]", "key"},
		{"an unknown protocol", `{ports: [{port: 1}, {protocol: tcp, port: 2}]}`, "ports[1].protocol", `"tcp" is not one of TCP, UDP, SCTP`},
		{"an endPort before its port", `{ports: [{port: 10, endPort: 9}]}`, "ports[0].endPort", "9 is not in 10-65535"},
		{"an endPort beyond all ports", `{ports: [{port: 10, endPort: 65536}]}`, "ports[0].endPort", "65536 is not in"},
		{"an endPort with a named port", `{ports: [{port: http, endPort: 9}]}`, "ports[0].endPort", `named port "http"`},
		{"an endPort without port", `{ports: [{endPort: 9}]}`, "ports[0].endPort", "needs a port"},
		{"port zero", `{ports: [{port: 0}]}`, "ports[0].port", "0 is not in 1-65535"},
		{"a negative port", `{ports: [{port: -1}]}`, "ports[0].port", "-1 is not in 1-65535"},
		{"a port beyond all ports", `{ports: [{port: 65536}]}`, "ports[0].port", "65536 is not in"},
		{"a name that can't be a port's", `{ports: [{port: "80"}]}`, "ports[0].port", `"80" is no name of a port`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := shop(t)
			w.policy("shop/bad", `{podSelector: {matchLabels: {app: db}}, ingress: [`+c.rule+`, {ports: [{port: 7}]}]}`)
			w.policy("shop/good", `{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 8}]}]}`)
			_, problems := w.flushAll()
			if len(problems) != 1 {
				t.Fatalf("problems are %v, want one", problems)
			}
			p := problems[0]
			if p.Policy != key("shop/bad") || p.Field != "spec.ingress[0]."+c.field || !strings.Contains(p.Message, c.message) {
				t.Errorf("the problem is %q, want field %s and message %q", p, c.field, c.message)
			}
			w.allowed("shop/web > shop/db tcp/7", "shop/web > shop/db tcp/8")
			w.denied("shop/web > shop/db tcp/1", "10.0.0.1 > 10.0.0.3 tcp/2", "shop/web > shop/db tcp/10")
		})
	}
}

func TestBadEgressNamesTheEgressField(t *testing.T) {
	w := shop(t)
	w.policy("shop/bad", `{podSelector: {}, egress: [{}, {to: [{podSelector: {}}, {}], ports: [{protocol: ICMP}]}]}`)
	_, problems := w.flushAll()
	if len(problems) != 2 || problems[0].Field != "spec.egress[1].to[1]" || problems[1].Field != "spec.egress[1].ports[0].protocol" {
		t.Errorf("problems are %v", problems)
	}
}

func TestBadSubjectIsolatesWhatTheSoundPartPicks(t *testing.T) {
	w := shop(t)
	w.policy("shop/bad", `{podSelector: {matchLabels: {tier: back}, matchExpressions: [{key: app, operator: In}]}, ingress: [{}]}`)
	_, problems := w.flushAll()
	if len(problems) != 1 || problems[0].Field != "spec.podSelector.matchExpressions[0]" {
		t.Errorf("problems are %v", problems)
	}
	w.denied("shop/web > shop/db tcp/1", "shop/web > shop/api tcp/1")
	w.allowed("shop/db > shop/web tcp/1")
}

func TestUnknownPolicyTypeIsolatesBothDirections(t *testing.T) {
	w := shop(t)
	w.policy("shop/bad", `{podSelector: {matchLabels: {app: db}}, policyTypes: [ingress], ingress: [{}]}`)
	_, problems := w.flushAll()
	if len(problems) != 1 || problems[0].Field != "spec.policyTypes[0]" {
		t.Errorf("problems are %v", problems)
	}
	w.allowed("shop/web > shop/db tcp/1")
	w.denied("shop/db > shop/web tcp/1")
}

func TestProblemsAreToldOncePerChange(t *testing.T) {
	w := shop(t)
	const bad = `{podSelector: {}, ingress: [{from: [{}]}]}`
	w.policy("shop/bad", bad)
	if _, p := w.flushAll(); len(p) != 1 || p[0].String() !=
		"NetworkPolicy shop/bad: spec.ingress[0].from[0]: names neither a podSelector, a namespaceSelector nor an ipBlock" {
		t.Errorf("problems are %v", p)
	}
	w.policy("shop/bad", bad)
	if _, p := w.flushAll(); len(p) > 0 {
		t.Errorf("a repeated policy repeats %v", p)
	}
	if got := w.Policies(); len(got) != 1 || len(got[0].Problems) != 1 {
		t.Errorf("the listing doesn't show the problem: %+v", got)
	}
	w.policy("shop/bad", `{podSelector: {}, ingress: [{from: [{}], ports: [{port: 1}]}]}`)
	if _, p := w.flushAll(); len(p) != 1 {
		t.Errorf("problems of the changed policy are %v", p)
	}
}
