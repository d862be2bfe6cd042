package policy

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

func TestRulesAreExplainedInWords(t *testing.T) {
	for _, c := range []struct{ name, spec, key, text string }{
		{"selectors, blocks and services",
			`{podSelector: {}, ingress: [{}, {from: [{podSelector: {matchLabels: {app: web}}}, {namespaceSelector: {matchLabels: {team: b}}}, {namespaceSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.2.0.0/16, 10.1.0.0/16]}}], ports: [{port: 80}, {port: 90, endPort: 99}, {protocol: UDP}]}]}`,
			"NetworkPolicy/shop/p/ingress/1",
			"from pods app=web in namespace shop; all pods in namespaces team=b; all pods in all namespaces; 10.0.0.0/8 except 10.1.0.0/16, 10.2.0.0/16 on TCP 80, TCP 90-99, UDP"},
		{"all traffic", `{podSelector: {}, egress: [{}]}`, "NetworkPolicy/shop/p/egress/0", "to anywhere"},
		{"a named port of ingress", `{podSelector: {}, ingress: [{ports: [{port: pg}]}]}`,
			"NetworkPolicy/shop/p/ingress/0#pg=5432", "from anywhere on TCP 5432 (port pg)"},
		{"a named port of egress", `{podSelector: {}, egress: [{ports: [{port: pg}]}]}`,
			"NetworkPolicy/shop/p/egress/0#pg=5432", "to all pods in all namespaces on TCP 5432 (port pg)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := shop(t)
			w.policy("shop/p", c.spec)
			w.flush()
			got, ok := w.RuleOf(flows.RuleKey(c.key))
			if !ok || got.Text != c.text || got.Policy != key("shop/p") {
				t.Errorf("%v, %+v\nwant %s", ok, got, c.text)
			}
		})
	}
	w := shop(t)
	w.policy("shop/p", `{podSelector: {}, egress: [{ports: [{port: 1}]}, {}]}`)
	w.flush()
	if got, _ := w.RuleOf("NetworkPolicy/shop/p/egress/1"); got.Direction != flows.Egress || got.Index != 1 {
		t.Errorf("rule is %+v", got)
	}
	w.removePolicy("shop/p")
	w.flush()
	if _, ok := w.RuleOf("NetworkPolicy/shop/p/egress/1"); ok {
		t.Error("a rule that is gone is explained")
	}
}

func TestIsolatingNamesThePoliciesOfAPod(t *testing.T) {
	w := shop(t)
	w.policy("shop/z", `{podSelector: {}, policyTypes: [Egress]}`)
	w.policy("shop/b", fromWeb)
	w.policy("shop/a", denyAll)
	w.policy("play/c", denyAll)
	w.flush()
	for _, c := range []struct {
		pod  string
		dir  flows.Direction
		want []cluster.Key
	}{
		{"shop/db", flows.Ingress, []cluster.Key{key("shop/a"), key("shop/b")}},
		{"shop/db", flows.Egress, []cluster.Key{key("shop/z")}},
		{"shop/web", flows.Ingress, []cluster.Key{key("shop/a")}},
		{"play/far", flows.Ingress, []cluster.Key{key("play/c")}}, // on another node
		{"play/far", flows.Egress, nil},
		{"shop/nobody", flows.Ingress, nil},
	} {
		if got := w.Isolating(key(c.pod), c.dir); !slices.Equal(got, c.want) {
			t.Errorf("%s %s is isolated by %v, want %v", c.pod, c.dir, got, c.want)
		}
	}
	if got := w.PodsOf(key("shop/b")); !slices.Equal(got, []cluster.Key{key("shop/db")}) {
		t.Errorf("the policy applies to %v", got)
	}
	if got := w.PodsOf(key("play/c")); len(got) != 3 {
		t.Errorf("the policy applies to %v, want all pods of play", got)
	}
}

func TestPoliciesAreListed(t *testing.T) {
	w := shop(t)
	w.policy("shop/b", fromWeb)
	w.policy("play/a", `{podSelector: {matchLabels: {app: far}}, ingress: [{}], egress: [{}]}`)
	w.flush()
	got := w.Policies()
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	if p := got[0]; p.Key != key("play/a") || p.Active || len(p.Rules) > 0 || p.Isolates != [2]bool{true, true} ||
		p.Subjects != "pods app=far in namespace play" {
		t.Errorf("%+v", p)
	}
	if p := got[1]; p.Key != key("shop/b") || !p.Active || !slices.Equal(p.Rules, []flows.RuleKey{"NetworkPolicy/shop/b/ingress/0"}) {
		t.Errorf("%+v", p)
	}
}

func TestPodByAddr(t *testing.T) {
	w := shop(t)
	for addr, want := range map[string]string{"10.0.0.3": "shop/db", "fd00::6": "play/far", "::ffff:10.0.0.1": "shop/web"} {
		if got, ok := w.PodByAddr(netip.MustParseAddr(addr)); !ok || got != key(want) {
			t.Errorf("%s is %v's, want %s", addr, got, want)
		}
	}
	if got, ok := w.PodByAddr(netip.MustParseAddr("203.0.113.5")); ok {
		t.Errorf("an outside address is %v's", got)
	}
	// A port that waits for its pod, with an address that a stale record claims.
	late := pod("shop/late", 6, "")
	w.SetPort(w.portOf(late))
	if got, _ := w.PodByAddr(late.IPs[0]); got != late.Key {
		t.Errorf("the address of a pending port is %v's", got)
	}
}

func TestAddrsOfAPod(t *testing.T) {
	w := shop(t)
	for _, name := range []string{"shop/db", "play/far"} { // here and elsewhere
		if got := w.AddrsOf(key(name)); !slices.Equal(got, w.pods[name].IPs) {
			t.Errorf("%s is reached at %v", name, got)
		}
	}
	w.change("shop/db", func(p *cluster.Pod) { p.Finished = true })
	if got := w.AddrsOf(key("shop/db")); len(got) > 0 {
		t.Errorf("a finished pod is reached at %v", got)
	}
}
