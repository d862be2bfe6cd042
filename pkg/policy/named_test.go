package policy

import (
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

func TestNamedPortSplitsARuleByNumber(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", `{podSelector: {}, ingress: [{ports: [{port: http}, {port: 443}, {port: dns, protocol: UDP}]}]}`)
	w.flush()
	want := []string{
		"NetworkPolicy/shop/p/ingress/0",
		"NetworkPolicy/shop/p/ingress/0#dns=53/udp",
		"NetworkPolicy/shop/p/ingress/0#http=8080",
		"NetworkPolicy/shop/p/ingress/0#http=9090",
	}
	if got := w.ruleKeys(); !slices.Equal(got, want) {
		t.Errorf("rules are %q, want %q", got, want)
	}
}

func TestNamedPortFollowsThePods(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", `{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}], ports: [{port: http}]}]}`)
	w.allowed("shop/web > play/far tcp/8082")

	// A pod with a number that another one has too joins that rule.
	w.attach(pod("play/more", 8, "app=more", "http=8082"))
	if d := w.flush(); len(d.Rules) > 0 || len(d.Peers) != 2 {
		t.Errorf("one more pod with the same number tells %+v, want two addresses", d)
	}
	w.remove("play/far")
	w.allowed("shop/web > play/more tcp/8082")
	w.denied("shop/web > play/far tcp/8082")
	w.change("play/more", func(p *cluster.Pod) { p.Ports = []cluster.NamedPort{{Name: "http", Protocol: "TCP", Port: 1}} })
	w.allowed("shop/web > play/more tcp/1")
	w.denied("shop/web > play/more tcp/8082")
	w.change("play/more", func(p *cluster.Pod) { p.Ports = nil })
	w.denied("shop/web > play/more tcp/1", "shop/web > play/more tcp/8082")
	w.change("play/more", func(p *cluster.Pod) { p.Ports = []cluster.NamedPort{{Name: "http", Protocol: "TCP", Port: 8082}} })
	w.allowed("shop/web > play/more tcp/8082")
}

func TestNamedPortOfIngressFollowsTheSubjects(t *testing.T) {
	w := shop(t)
	w.policy("shop/p", `{podSelector: {matchLabels: {tier: back}}, ingress: [{ports: [{port: http}]}]}`)
	w.allowed("shop/web > shop/db tcp/9090")
	w.DeletePort("sl-shop/db")
	w.flush()
	if got := w.ruleKeys(); !slices.Equal(got, []string{"NetworkPolicy/shop/p/ingress/0#http=8080"}) {
		t.Errorf("rules are %q", got)
	}
	w.SetPort(w.portOf(w.pods["shop/db"]))
	w.allowed("shop/web > shop/db tcp/9090")
}

func TestOfTwoPortsOfOneNameTheFirstOfTheProtocolCounts(t *testing.T) {
	w := shop(t)
	w.attach(pod("shop/two", 9, "app=two", "x=1/UDP", "x=2", "x=3"))
	w.policy("shop/p", `{podSelector: {matchLabels: {app: two}}, ingress: [{ports: [{port: x}]}]}`)
	w.allowed("shop/web > shop/two tcp/2")
	w.denied("shop/web > shop/two tcp/3", "shop/web > shop/two tcp/1", "shop/web > shop/two udp/1")
}
