package testbed

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func options() Options {
	return Options{Dir: "/tmp/x", Nodes: 3, Subnets: 2, Family: Dual, CNI: PTP, MTU: 1500}
}

// describe writes a plan as text.
func describe(p Plan) string {
	var b strings.Builder
	fmt.Fprintln(&b, "pods", p.Pods, p.PodBits)
	fmt.Fprintln(&b, "services", p.Services, "dns", p.DNS)
	for _, s := range p.Subnets {
		fmt.Fprintln(&b, s.Name, s.Router)
	}
	for _, n := range p.Nodes {
		fmt.Fprintln(&b, n.Name, n.Subnet, n.Addrs)
	}
	return b.String()
}

func TestPlanPutsNodesInSubnetsInTurn(t *testing.T) {
	const want = `pods [10.244.0.0/16 fd00:10:244::/56] [24 64]
services [10.96.0.0/16 fd00:10:96::/112] dns [10.96.0.10 fd00:10:96::a]
br0 [172.31.0.1/24 fd00:172:31::1/64]
br1 [172.31.1.1/24 fd00:172:31:1::1/64]
node1 0 [172.31.0.11/24 fd00:172:31::b/64]
node2 1 [172.31.1.11/24 fd00:172:31:1::b/64]
node3 0 [172.31.0.12/24 fd00:172:31::c/64]
`
	if diff := cmp.Diff(want, describe(NewPlan(options()))); diff != "" {
		t.Error(diff)
	}
}

func TestPlanHasOneFamilyIfAskedFor(t *testing.T) {
	o := options()
	for family, is4 := range map[string]bool{IPv4: true, IPv6: false} {
		o.Family = family
		p := NewPlan(o)
		if len(p.Pods) != 1 || len(p.Services) != 1 || len(p.DNS) != 1 || len(p.Nodes[0].Addrs) != 1 {
			t.Errorf("%s: not one of each: %s", family, describe(p))
		}
		if p.Pods[0].Addr().Is4() != is4 || p.Nodes[0].Addrs[0].Addr().Is4() != is4 {
			t.Errorf("%s: of another family: %s", family, describe(p))
		}
	}
}

func TestNoTwoHostsOfTheLargestPlanShareAnAddress(t *testing.T) {
	o := options()
	o.Subnets = maxSubnets
	o.Nodes = maxSubnets * maxNodes
	p := NewPlan(o)
	seen := map[netip.Addr]string{}
	add := func(name string, prefixes []netip.Prefix) {
		for _, prefix := range prefixes {
			if other, there := seen[prefix.Addr()]; there {
				t.Fatalf("%s and %s both have %s", name, other, prefix.Addr())
			}
			seen[prefix.Addr()] = name
		}
	}
	for _, s := range p.Subnets {
		add(s.Name, s.Router)
	}
	for _, n := range p.Nodes {
		add(n.Name, n.Addrs)
		for i, a := range n.Addrs {
			if router := p.Subnets[n.Subnet].Router[i]; router.Masked() != a.Masked() {
				t.Fatalf("%s with %s is not in the subnet of %s", n.Name, a, router)
			}
		}
	}
}

func TestOptionsThatAreWrongAreNamed(t *testing.T) {
	for _, tt := range []struct {
		field  string
		change func(*Options)
	}{
		{"dir", func(o *Options) { o.Dir = "" }},
		{"dir", func(o *Options) { o.Dir = "/run/cluster" }},
		{"nodes", func(o *Options) { o.Nodes = 0 }},
		{"nodes", func(o *Options) { o.Nodes = 2*maxNodes + 1 }},
		{"subnets", func(o *Options) { o.Subnets = maxSubnets + 1 }},
		{"family", func(o *Options) { o.Family = "ipv5" }},
		{"cni", func(o *Options) { o.CNI = "other" }},
		{"mtu", func(o *Options) { o.MTU = 1000 }},
		{"manifest", func(o *Options) { o.CNI = Sluice }},
		{"no such file", func(o *Options) { o.Images = []string{"/nowhere/image.tar"} }},
	} {
		o := options()
		tt.change(&o)
		if err := o.complete(); err == nil || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("%+v: %v, want an error that names %s", o, err, tt.field)
		}
	}
	o := options()
	if err := o.complete(); err != nil {
		t.Error(err)
	}
}
