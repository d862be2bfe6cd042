package flows

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// Whoever may write spec.externalIPs could else have the node ports of others.
func TestNodePortsAreAtTheHopWhateverAddressesServicesAskFor(t *testing.T) {
	hop := netip.MustParseAddrPort("[fd53::252]:30001")
	node := serviceNode()
	balancer := func(endpoint string, frontends ...Frontend) *Balancer {
		return &Balancer{Protocol: TCP, Frontends: frontends, Endpoints: [2][]netip.AddrPort{addrPorts(endpoint)}}
	}
	p := New()
	if _, err := p.Apply(Delta{Node: &node, Balancers: []BalancerChange{
		{"owner", balancer("[fd00:1::5]:80", Frontend{Addr: netip.MustParseAddr("fd00:96::1"), Port: 80}, Frontend{Port: hop.Port()})},
		{"thief", balancer("[fd00:1::6]:80", Frontend{Addr: netip.MustParseAddr("fd00:96::2"), Port: 80}, Frontend{Addr: hop.Addr(), Port: hop.Port()})},
	}}); err != nil {
		t.Fatal(err)
	}
	var there []*Flow
	for f := range p.Flows() {
		if Table(f.Table) == TableServiceLB && matchOf(f, "ipv6_dst") == hop.Addr().String() && matchOf(f, "tp_dst") != "" {
			there = append(there, f)
		}
	}
	if len(there) != 1 {
		t.Fatalf("there are %d flows: %v", len(there), texts(there...))
	}
	if key, _, _ := p.BalancerByCookie(Cookie(there[0].Cookie)); key != "owner" {
		t.Errorf("the flow is %s's", key)
	}
	if key, _ := p.BalancerAt(TCP, hop); key != "owner" {
		t.Errorf("the node port is %s's", key)
	}
}

// At an address of the node a Service's external address comes before node ports.
// What is learned of the clients of one must not be what is done with the other's.
func TestANodePortStaysWhatItIsWhereAnExternalAddressGoes(t *testing.T) {
	node := serviceNode()
	at := netip.AddrPortFrom(node.Addrs[1], 30001)
	balancer := func(endpoint string, frontend Frontend) *Balancer {
		return &Balancer{
			Protocol: TCP, Frontends: []Frontend{frontend}, Endpoints: [2][]netip.AddrPort{addrPorts(endpoint)}, Affinity: time.Hour,
		}
	}
	owner := BalancerChange{"owner", balancer("10.0.1.5:80", Frontend{Port: at.Port()})}
	p, b := New(), bridge{}
	apply := func(d Delta) {
		t.Helper()
		c, err := p.Apply(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range c.Delete {
			delete(b, flow.Key(f))
		}
		for _, f := range c.Add {
			b[flow.Key(f)] = f
		}
	}
	apply(Delta{Node: &node, Balancers: []BalancerChange{owner}})
	want := texts(slices.Collect(maps.Values(b))...)
	apply(Delta{Balancers: []BalancerChange{{"other", balancer("10.0.1.6:80", Frontend{Addr: at.Addr(), Port: at.Port()})}}})
	all := texts(slices.Collect(p.Flows())...)
	if got := texts(slices.Collect(maps.Values(b))...); !slices.Equal(got, all) {
		t.Errorf("two flows have the same match:\n%s", diffText(got, all))
	}
	apply(Delta{Balancers: []BalancerChange{{Key: "other"}}})
	if got := texts(slices.Collect(maps.Values(b))...); !slices.Equal(got, want) {
		t.Errorf("it leaves the node port otherwise than it was:\n%s", diffText(got, want))
	}
}
