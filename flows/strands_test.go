package flows

import (
	"net/netip"
	"testing"
)

// A UDP client that goes on sending to a frontend stays with who answered there before
// until connection tracking is looked through.
func TestAFrontendThatGoesNarrows(t *testing.T) {
	endpoints := [2][]netip.AddrPort{addrPorts("10.0.1.5:53")}
	with := func(protocol uint8, frontends ...Frontend) *Balancer {
		return &Balancer{Protocol: protocol, Frontends: frontends, Endpoints: endpoints}
	}
	cluster, external := Frontend{Addr: netip.MustParseAddr("10.96.0.1"), Port: 53}, Frontend{Addr: netip.MustParseAddr("203.0.113.7"), Port: 53}
	guarded := external
	guarded.Sources = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	for _, c := range []struct {
		name     string
		protocol uint8
		was, now []Frontend
		narrows  bool
	}{
		{"an external address goes", UDP, []Frontend{cluster, external}, []Frontend{cluster}, true},
		{"a node port goes", UDP, []Frontend{cluster, {Port: 30053}}, []Frontend{cluster}, true},
		{"a node port is another", UDP, []Frontend{cluster, {Port: 30053}}, []Frontend{cluster, {Port: 30054}}, true},
		{"one comes: it may have been another's, or refused", UDP, []Frontend{cluster}, []Frontend{cluster, external}, true},
		{"associations are like that, too", SCTP, []Frontend{cluster, external}, []Frontend{cluster}, true},
		{"connections are their endpoint's to end", TCP, []Frontend{cluster, external}, []Frontend{cluster}, false},
		{"nothing", UDP, []Frontend{cluster, external}, []Frontend{external, cluster}, false},
		{"other clients", UDP, []Frontend{cluster, external}, []Frontend{cluster, guarded}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, node := New(), serviceNode()
			if _, err := p.Apply(Delta{Node: &node, Balancers: []BalancerChange{{"a", with(c.protocol, c.was...)}}}); err != nil {
				t.Fatal(err)
			}
			changes, err := p.Apply(Delta{Balancers: []BalancerChange{{"a", with(c.protocol, c.now...)}}})
			if err != nil {
				t.Fatal(err)
			}
			if changes.Narrows != c.narrows {
				t.Errorf("narrows: %v, want %v", changes.Narrows, c.narrows)
			}
		})
	}
}
