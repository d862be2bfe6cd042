package oracle

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVerdictNamesAllThatIsolatesAndAllows(t *testing.T) {
	c := fixture(t, `
- {in: shop, name: out, podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: 81}]}, {to: [{podSelector: {}}]}, {}]}
- {in: shop, name: shut, podSelector: {matchLabels: {app: api}}}
- {in: shop, name: open, podSelector: {}, ingress: [{}]}
- {in: bank, name: elsewhere, podSelector: {}, ingress: [{}], egress: [{}]}
`)
	got := c.Judge(parseConn(t, c, "shop/web > shop/api tcp/80"))
	want := Verdict{
		Allowed: true,
		Egress: Side{
			Subject: Key{"shop", "web"}, Node: "n1", Isolated: true,
			IsolatedBy: []Key{{"shop", "out"}},
			AllowedBy:  []RuleRef{{Key{"shop", "out"}, 1}, {Key{"shop", "out"}, 2}},
		},
		Ingress: Side{
			Subject: Key{"shop", "api"}, Node: "n1", Isolated: true,
			IsolatedBy: []Key{{"shop", "shut"}, {"shop", "open"}},
			AllowedBy:  []RuleRef{{Key{"shop", "open"}, 0}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}

func TestEachSideIsEnforcedByTheNodeOfItsSubject(t *testing.T) {
	c := fixture(t, `
- {in: shop, name: p, podSelector: {matchLabels: {app: db}}}
`)
	v := c.Judge(parseConn(t, c, "shop/web > shop/db tcp/80"))
	if v.Allowed || !v.AllowedOn("n1") || v.AllowedOn("n2") {
		t.Errorf("shop/db on n2 is isolated: allowed %v, on n1 %v, on n2 %v", v.Allowed, v.AllowedOn("n1"), v.AllowedOn("n2"))
	}
}

func TestPortOfAnUnknownPodIsClosedOnAnyNode(t *testing.T) {
	c := fixture(t, "")
	if v := c.Judge(parseConn(t, c, "shop/unheard-of=10.0.1.7 > shop/db tcp/80")); v.AllowedOn("n1") {
		t.Errorf("allowed: %+v", v)
	}
}

func TestAddressOfAFinishedPodMayBeReused(t *testing.T) {
	c := fixture(t, `
- {in: bank, name: p, podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: retail}}}]}]}
`)
	done, heir := c.pod(Key{"shop", "done"}), c.pod(Key{"bank", "api"}).DeepCopy()
	heir.Name = "heir"
	heir.Status.PodIPs = done.Status.PodIPs
	c.Pods = append(c.Pods, heir)
	expect(t, c, `
		deny  10.0.1.9 > bank/api tcp/80
		deny  bank/api > 10.0.1.9 tcp/80
		allow shop/web > 10.0.1.9 tcp/80`)
}

func TestReadsNothingIntoBareAddressesOutsideTheCluster(t *testing.T) {
	c := fixture(t, "")
	v := c.Judge(parseConn(t, c, "203.0.113.1 > 203.0.113.2 tcp/80"))
	if diff := cmp.Diff(Verdict{Allowed: true}, v); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}

func TestConnReadsAsOneLine(t *testing.T) {
	c := fixture(t, "")
	for text, want := range map[string]string{
		"shop/web > 203.0.113.1 tcp/80":                       "shop/web(10.0.1.2) -> 203.0.113.1 TCP/80",
		"fd00:1::1 > shop/api/6 icmp own-node":                "fd00:1::1 -> shop/api(fd00:1::3) ICMP from its own node",
		"shop/new=10.0.1.7 > shop/unheard-of=10.0.1.7 sctp/7": "shop/new(10.0.1.7) -> shop/unheard-of(10.0.1.7) SCTP/7",
	} {
		if got := parseConn(t, c, text).String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestConnThatCannotBeReadNamesThePart(t *testing.T) {
	c := fixture(t, "")
	for text, part := range map[string]string{
		"shop/web shop/api tcp/80":          "SOURCE",
		"shop/web > shop/api tcp/80 soon":   "SOURCE",
		"shop/cat > shop/api tcp/80":        "no pod shop/cat",
		"shop/web > shop/db/6 tcp/80":       "destination",
		"shop/web > shop/new=10.0.1 tcp/80": "destination",
		"shop/web > shop/api tcp":           "icmp",
		"shop/web > shop/api icmp/8":        "icmp",
		"shop/web > shop/api tcp/65536":     "port",
	} {
		if _, err := c.ParseConn(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: got error %v, want one that says %q", text, err, part)
		}
	}
}
