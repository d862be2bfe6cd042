package simulate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

func pod(name string, app string, addrs ...string) *cluster.Pod {
	p := &cluster.Pod{Key: cluster.Key{Namespace: "ns", Name: name}, Labels: map[string]string{"app": app}}
	for _, a := range addrs {
		p.IPs = append(p.IPs, netip.MustParseAddr(a))
	}
	return p
}

func (c *Cluster) apply(t *testing.T, events ...cluster.Event) {
	t.Helper()
	if err := c.Apply(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// addrsOf are a pod's addresses as text.
func (c *Cluster) addrsOf(name string) string {
	for _, p := range c.Pods() {
		if p.Name == "ns/"+name {
			return fmt.Sprint(p.Addrs)
		}
	}
	return ""
}

// allowed asks one connection.
func (c *Cluster) allowed(t *testing.T, from, to string) bool {
	t.Helper()
	m, err := c.Matrix(t.Context(), Query{From: []string{from}, To: []string{to}, Services: []Service{{"tcp", 80}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Cells) != 1 {
		t.Fatalf("from %s to %s: %d cells", from, to, len(m.Cells))
	}
	return m.Cells[0].Allowed()
}

// onlyApp lets pods of one app reach those of another, on TCP 80.
func onlyApp(from, to string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "only"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": to}},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": from}}}},
				Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromInt32(80))}},
			}},
		},
	}
}

func TestPodsComeChangeAndGo(t *testing.T) {
	var problems []error
	c := load(t, t.TempDir(), func(err error) { problems = append(problems, err) })
	c.apply(t,
		cluster.Event{Namespace: &cluster.Namespace{Name: "ns"}},
		cluster.Event{Policy: onlyApp("web", "db")},
		cluster.Event{Pod: pod("db", "db")},
		cluster.Event{Pod: pod("other", "web", "10.244.0.2", "fd00:10:244::2")},
	)
	if got := c.addrsOf("db"); got != "[10.244.0.3 fd00:10:244::3]" {
		t.Errorf("beside a pod with an address of its own db has %s", got)
	}
	if !c.allowed(t, "ns/other", "ns/db") {
		t.Error("web may not reach db")
	}
	c.apply(t, cluster.Event{Pod: pod("other", "none", "10.244.0.2", "fd00:10:244::2")})
	if c.allowed(t, "ns/other", "ns/db") {
		t.Error("a pod relabelled may still reach db")
	}
	c.apply(t, cluster.Event{Pod: pod("other", "none"), Deleted: true}, cluster.Event{Pod: pod("late", "web")})
	if got := c.addrsOf("late"); got != "[10.244.0.2 fd00:10:244::2]" {
		t.Errorf("the address of a pod that is gone is not used again: late has %s", got)
	}
	if !c.allowed(t, "ns/late", "ns/db") {
		t.Error("a pod that came may not reach db")
	}
	// Two pods change addresses.
	c.apply(t, cluster.Event{Pod: pod("db", "db", "10.244.0.2")}, cluster.Event{Pod: pod("late", "none", "10.244.0.3")})
	if c.addrsOf("db") != "[10.244.0.2]" || c.addrsOf("late") != "[10.244.0.3]" || c.allowed(t, "ns/late", "ns/db") {
		t.Errorf("after the swap db has %s, late %s", c.addrsOf("db"), c.addrsOf("late"))
	}
	finished := pod("late", "web", "10.244.0.3")
	finished.Finished = true
	c.apply(t, cluster.Event{Pod: finished}, cluster.Event{Pod: pod("heir", "web", "10.244.0.3")})
	if !c.allowed(t, "ns/heir", "ns/db") || c.addrsOf("late") != "" {
		t.Error("the address of a finished pod does not go to its heir")
	}
	if len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
}

func TestAPodWithATakenAddressIsLeftOut(t *testing.T) {
	var problems []string
	c := load(t, t.TempDir(), func(err error) { problems = append(problems, err.Error()) })
	host := pod("host", "web")
	host.HostNetwork = true
	c.apply(t, cluster.Event{Pod: pod("a", "x", "10.9.0.1")}, cluster.Event{Pod: pod("b", "x", "10.9.0.1")},
		cluster.Event{Pod: pod("c", "x", "10.244.0.1")}, cluster.Event{Pod: host})
	want := []string{
		"Pod ns/b: status.podIPs: 10.9.0.1 is the address of pod ns/a",
		"Pod ns/c: status.podIPs: 10.244.0.1 is the simulated gateway's address",
	}
	if !slices.Equal(problems, want) {
		t.Errorf("problems %q, want %q", problems, want)
	}
	var out []string
	for _, l := range c.LeftOut() {
		out = append(out, l.Pod)
	}
	if len(c.Pods()) != 1 || !slices.Equal(out, []string{"ns/b", "ns/c", "ns/host"}) {
		t.Errorf("pods %v, left out %v", c.Pods(), out)
	}
}

func TestAFullRangeIsAProblem(t *testing.T) {
	a := newAddresses([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/30")})
	for _, want := range []string{"[10.0.0.2] <nil>", "[10.0.0.3] <nil>", "[] Pod ns/p: no free address in 10.0.0.0/30"} {
		addrs, err := a.take(cluster.Key{Namespace: "ns", Name: "p"})
		if got := fmt.Sprint(addrs, " ", err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestServicesOfInterest(t *testing.T) {
	c := load(t, "../../examples/three-tiers", nil)
	for to, want := range map[string]string{
		"web-tier/web-1":    "[tcp/8080]",
		"app-tier/app-2":    "[tcp/9001]",
		"data-tier/replica": "[tcp/5432 tcp/7000 tcp/7005]",
		"192.0.2.50":        "[tcp/80]",
	} {
		e, ok := c.find(to)
		if !ok {
			t.Fatalf("no %s", to)
		}
		if got := fmt.Sprint(c.servicesOf(e)); got != want {
			t.Errorf("services of %s: %s, want %s", to, got, want)
		}
	}
	c = load(t, "../../examples/external-access", nil)
	e, _ := c.find("198.51.100.10")
	if got := fmt.Sprint(c.servicesOf(e)); got != "[tcp/443 udp/443]" {
		t.Errorf("services of an address in a block: %s", got)
	}
}

func TestMatrixTellsTheRuleAndTheIsolation(t *testing.T) {
	c := load(t, "../../examples/guarded-database", nil)
	m, err := c.Matrix(t.Context(), Query{To: []string{"shop/db"}, Services: []Service{{"tcp", 5432}}, Families: BothFamilies})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Cells) != 8 || m.Allowed != 4 || m.Denied != 4 {
		t.Fatalf("%d cells, %d allowed, %d denied", len(m.Cells), m.Allowed, m.Denied)
	}
	for i, cell := range m.Cells {
		if cell.Family != 4+2*(i%2) {
			t.Errorf("cell %d is of family %d", i, cell.Family)
		}
		rule := cell.Ingress.AllowedBy
		if role := strings.HasPrefix(cell.From, "shop/backend"); role != cell.Allowed() || role != (rule != nil) {
			t.Errorf("%s is %s by %v", cell.Connection, cell.Verdict, rule)
		}
		if !slices.Equal(cell.Ingress.IsolatedBy, []string{"shop/db-guard"}) || !strings.Contains(cell.Reason, "shop/db-guard") {
			t.Errorf("%s: isolated by %v, because %s", cell.Connection, cell.Ingress.IsolatedBy, cell.Reason)
		}
	}
}

func TestEndsAreChosenByPatternAndAddress(t *testing.T) {
	c := load(t, "../../examples/guarded-database", nil)
	names := func(patterns ...string) string {
		ends, err := c.choose("from", patterns)
		if err != nil {
			return err.Error()
		}
		var out []string
		for _, e := range ends {
			out = append(out, e.name)
		}
		return strings.Join(out, " ")
	}
	for patterns, want := range map[string]string{
		"":                          "shop/backend-1 shop/backend-2 shop/db shop/frontend warehouse/api",
		"shop/back*":                "shop/backend-1 shop/backend-2",
		"shop/db shop/* shop/db":    "shop/db shop/backend-1 shop/backend-2 shop/frontend",
		"203.0.113.7 warehouse/api": "203.0.113.7 warehouse/api",
		"::ffff:203.0.113.7":        "203.0.113.7",
		"shop/nobody":               "from: there is no pod shop/nobody",
		"nowhere/*":                 "from: there is no pod nowhere/*",
	} {
		if got := names(strings.Fields(patterns)...); got != want {
			t.Errorf("%q chooses %q, want %q", patterns, got, want)
		}
	}
	// Between machines outside there is nothing to judge.
	m, err := c.Matrix(t.Context(), Query{From: []string{"203.0.113.7"}, To: []string{"203.0.113.8"}})
	if err != nil || len(m.Cells) != 0 {
		t.Errorf("%d cells, %v", len(m.Cells), err)
	}
}

func TestMatrixEndsWithItsContext(t *testing.T) {
	c := load(t, "../../examples/guarded-database", nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	_, err := c.Matrix(ctx, Query{Progress: func(done, all int) {
		if all != 24 || done > all {
			t.Errorf("%d of %d done", done, all)
		}
		cancel(why)
	}})
	if err == nil {
		t.Error("a matrix of a context that has ended came to an end")
	}
}

func TestChangesAreWhatIsOtherNewOrGone(t *testing.T) {
	cell := func(port uint16, verdict string) Cell {
		return Cell{Connection: Connection{"a/b", "c/d", Service{"tcp", port}}, Family: 4, Verdict: verdict}
	}
	before := &Matrix{Cells: []Cell{cell(1, api.Allowed), cell(2, api.Allowed), cell(3, api.Denied)}}
	after := &Matrix{Cells: []Cell{cell(1, api.Allowed), cell(2, api.Denied), cell(4, api.Allowed)}}
	var got []string
	for _, c := range Changes(before, after) {
		got = append(got, fmt.Sprintf("%d %q %s %t", c.Port, c.Before, c.Verdict, c.Gone))
	}
	want := []string{`2 "allowed" denied false`, `4 "" allowed false`, `3 "denied" denied true`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if c := Changes(after, after); len(c) != 0 {
		t.Errorf("nothing has changed, but %v", c)
	}
}
