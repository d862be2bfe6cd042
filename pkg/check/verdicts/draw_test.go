package verdicts

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/pkg/policy"
)

// shop is a store with the pods db, api and elsewhere, of which the last is on
// another node, and a policy for db.
func shop() (*Store, map[string]policy.LocalPort) {
	s := NewStore()
	pod := func(name, node, addr string) cluster.Event {
		return cluster.Event{Pod: &cluster.Pod{
			Key: cluster.Key{Namespace: "shop", Name: name}, UID: name, Node: node, Labels: map[string]string{"app": name},
			IPs: []netip.Addr{netip.MustParseAddr(addr)}, Ports: []cluster.NamedPort{{Name: "p", Protocol: "UDP", Port: 53}},
		}}
	}
	s.Update([]cluster.Event{
		{Namespace: &cluster.Namespace{Name: "shop"}}, pod("db", "n1", "10.0.0.2"), pod("api", "n1", "10.0.0.3"), pod("elsewhere", "n2", "10.0.1.2"),
		{Policy: &networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "guard"},
			Spec: networkingv1.NetworkPolicySpec{
				PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}},
				Ingress: []networkingv1.NetworkPolicyIngressRule{{
					From: []networkingv1.NetworkPolicyPeer{
						{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "api"}}},
						{IPBlock: &networkingv1.IPBlock{CIDR: "203.0.113.0/24", Except: []string{"203.0.113.128/25"}}},
						{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/16"}},
					},
					Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromInt32(8000)), EndPort: ptr.To[int32](8010)}, {Port: ptr.To(intstr.FromInt32(unnamedPort))}},
				}},
			},
		}},
	})
	ports := map[string]policy.LocalPort{}
	for name, addr := range map[string]string{"db": "10.0.0.2", "api": "10.0.0.3", "new": "10.0.0.4"} {
		ports["p-"+name] = policy.LocalPort{
			Name: "p-" + name, Pod: cluster.Key{Namespace: "shop", Name: name}, UID: name, Addrs: []netip.Addr{netip.MustParseAddr(addr)},
		}
	}
	return s, ports
}

var n1 = flows.Node{
	Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
	Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.10")},
}

func inOrder(n int) []int {
	var out []int
	for i := range n {
		out = append(out, i)
	}
	return out
}

func TestEndsAreThePodsTheNodeAndWhatRulesTellApart(t *testing.T) {
	store, ports := shop()
	s := store.snapshot("n1", ports, n1.Addrs, false)
	if fmt.Sprint(s.unknown) != "[p-new of pod shop/new]" {
		t.Errorf("unknown: %v", s.unknown)
	}
	var names []string
	for _, e := range append(s.local, s.outside(n1, []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}, inOrder)...) {
		names = append(names, e.name)
	}
	// Of the blocks the first and last addresses and those beside, but none in a
	// range of pods.
	want := []string{
		"shop/api", "shop/db", "node n1", "203.0.113.0", "203.0.113.255", "203.0.114.0", "203.0.112.255", "203.0.113.128", "203.0.113.127",
		"10.0.255.255", "10.1.0.0", "9.255.255.255", "192.0.2.1", "2001:db8::1", "shop/elsewhere",
	}
	if !slices.Equal(names, want) {
		t.Errorf("ends\n%v\nwant\n%v", names, want)
	}
}

func TestServicesAreThoseThatRulesAndPodsNameAndOneThatNobodyDoes(t *testing.T) {
	store, ports := shop()
	s := store.snapshot("n1", ports, n1.Addrs, false)
	w := newSpace(s, nil)
	got := map[string]string{}
	for _, p := range w.pairs {
		got[w.ends[p.src].name+">"+w.ends[p.dst].name] = fmt.Sprint(w.services(p))
	}
	for pair, want := range map[string]string{
		"shop/api>shop/db": "[{ICMP 0} {SCTP 40001} {TCP 8000} {TCP 8010} {TCP 40001} {TCP 40002} {UDP 53} {UDP 40001}]",
		"shop/db>shop/api": "[{ICMP 0} {SCTP 40001} {TCP 40001} {UDP 53} {UDP 40001}]",
	} {
		if got[pair] != want {
			t.Errorf("%s: %s, want %s", pair, got[pair], want)
		}
	}
}

func TestASampleAsksAboutEveryPairEquallyOftenAndIsTheSameByItsSeed(t *testing.T) {
	store, ports := shop()
	s := store.snapshot("n1", ports, n1.Addrs, false)
	w := newSpace(s, s.outside(n1, nil, inOrder))
	whole, all := w.draw(1<<20, 1)
	if len(whole) != all || all < 100 {
		t.Fatalf("%d of %d drawn", len(whole), all)
	}
	seen := map[probe]bool{}
	for _, p := range whole {
		if seen[p] {
			t.Errorf("%v is drawn twice", p.conn())
		}
		seen[p] = true
	}
	n := 2 * len(w.pairs)
	a, _ := w.draw(n, 7)
	b, _ := w.draw(n, 7)
	c, _ := w.draw(n, 8)
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Error("the seed does not decide what is drawn")
	}
	count := map[[2]*end]int{}
	for _, p := range a {
		count[[2]*end{p.src, p.dst}]++
	}
	for pair, n := range count {
		if n != 2 {
			t.Errorf("%s to %s is asked about %d times, want 2", pair[0].name, pair[1].name, n)
		}
	}
}

func TestTheOracleIsAskedAsOfWholeCluster(t *testing.T) {
	store, ports := shop()
	s := store.snapshot("n1", ports, n1.Addrs, false)
	at := func(pod, addr string) oracle.Endpoint {
		e := oracle.Endpoint{Addr: netip.MustParseAddr(addr)}
		if pod != "" {
			e.Pod = oracle.Key{Namespace: "shop", Name: pod}
		}
		return e
	}
	for _, tc := range []struct {
		src, dst oracle.Endpoint
		port     uint16
		allowed  bool
		why      string
	}{
		{at("api", "10.0.0.3"), at("db", "10.0.0.2"), 8001, true, "egress of pod shop/api is not isolated by any policy; ingress of pod shop/db is allowed by rule 0 of NetworkPolicy shop/guard"},
		{at("api", "10.0.0.3"), at("db", "10.0.0.2"), 80, false,
			"egress of pod shop/api is not isolated by any policy; ingress of pod shop/db is isolated by NetworkPolicy shop/guard, and no rule allows this"},
		{at("", "203.0.113.200"), at("db", "10.0.0.2"), 8001, false, "ingress of pod shop/db is isolated by NetworkPolicy shop/guard, and no rule allows this"},
		{at("", "192.0.2.10"), at("db", "10.0.0.2"), 80, true, "ingress: a node always reaches its own pods"},
		{at("db", "10.0.0.2"), at("elsewhere", "10.0.1.2"), 80, true, "egress of pod shop/db is not isolated by any policy"},
		{at("new", "10.0.0.4"), at("api", "10.0.0.3"), 80, false, "egress of pod shop/new is shut, as the pod is not known; ingress of pod shop/api is not isolated by any policy"},
	} {
		v := s.judge(oracle.Conn{Src: tc.src, Dst: tc.dst, Protocol: "TCP", Port: tc.port})
		if v.AllowedOn("n1") != tc.allowed || why(v, "n1") != tc.why {
			t.Errorf("%s to %s: allowed %v, %s", tc.src, tc.dst, v.AllowedOn("n1"), why(v, "n1"))
		}
	}
}

func TestWhatIsGoneIsForgotten(t *testing.T) {
	store, ports := shop()
	before := store.snapshot("n1", ports, nil, false)
	store.Update([]cluster.Event{
		{Deleted: true, Pod: &cluster.Pod{Key: cluster.Key{Namespace: "shop", Name: "api"}}},
		{Deleted: true, Policy: &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "guard"}}},
		{Synced: true},
	})
	s := store.snapshot("n1", ports, nil, false)
	if s.version != before.version+2 || len(s.local) != 1 || len(s.policies["shop"]) != 0 || len(s.unknown) != 2 {
		t.Errorf("version %d after %d, %d local, %d policies, unknown %v", s.version, before.version, len(s.local), len(s.policies["shop"]), s.unknown)
	}
}
