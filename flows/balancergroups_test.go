package flows

import (
	"net/netip"
	"testing"
)

// The ports of a Service take numbers for their endpoints in turns when one endpoint
// comes after the other, and in a row when many come at once. The groups under one
// that is too large have to be of about the same size nevertheless: each gets as many
// connections as the next.
func TestGroupsOfALargeServiceAreOfAboutTheSameSize(t *testing.T) {
	for _, c := range []struct{ atOnce, oneByOne, ports int }{
		{500, 0, 1}, {5000, 0, 1}, {0, 450, 2}, {0, 450, 3}, {300, 200, 2}, {390, 30, 8},
	} {
		p := New()
		node := Node{
			GatewayOFPort: 1, GatewayMAC: []byte{2, 0, 0, 0, 0, 1}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
			ServiceHops: []netip.Addr{netip.MustParseAddr("169.254.0.252")},
		}
		if _, err := p.Apply(Delta{Node: &node}); err != nil {
			t.Fatal(err)
		}
		serve := func(endpoints int) {
			t.Helper()
			var d Delta
			for i := range c.ports {
				b := &Balancer{Protocol: TCP, Frontends: []Frontend{{Addr: netip.MustParseAddr("10.96.0.1"), Port: uint16(80 + i)}}}
				for e := range endpoints {
					b.Endpoints[ScopeCluster] = append(b.Endpoints[ScopeCluster],
						netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(e >> 8), byte(e)}), uint16(8080+i)))
				}
				d.Balancers = append(d.Balancers, BalancerChange{Key: balancerName(i), Balancer: b})
			}
			if _, err := p.Apply(d); err != nil {
				t.Fatal(err)
			}
		}
		serve(c.atOnce)
		for i := range c.oneByOne {
			serve(c.atOnce + i + 1)
		}
		endpoints := c.atOnce + c.oneByOne
		for g := range p.Groups() {
			if g.Upper {
				continue
			}
			parts := len(divide(p.endpointIDs(p.balancers.byKey[balancerName(0)], ScopeCluster)))
			if mean := float64(endpoints) / float64(parts); float64(len(g.Buckets)) < 0.75*mean || float64(len(g.Buckets)) > 1.25*mean {
				t.Errorf("%+v: a group has %d of %d endpoints, and there are %d groups", c, len(g.Buckets), endpoints, parts)
			}
		}
	}
}
