package nodes

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

func TestUpdateSaysWhetherAnythingCounts(t *testing.T) {
	table := NewTable()
	for _, tc := range []struct {
		name  string
		event cluster.Event
		want  bool
	}{
		{"a node comes", cluster.Event{Node: nodeOf(t, "n1 1 10.244.1.0/24 192.0.2.1")}, true},
		{"the same again", cluster.Event{Node: nodeOf(t, "n1 1 10.244.1.0/24 192.0.2.1")}, false},
		{"an external address", cluster.Event{Node: &cluster.Node{
			Name: "n1", Created: 1, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24")},
			Internal: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.1")},
		}}, true},
		{"another address", cluster.Event{Node: nodeOf(t, "n1 1 10.244.1.0/24 192.0.2.9")}, true},
		{"another range", cluster.Event{Node: nodeOf(t, "n1 1 10.244.9.0/24 192.0.2.9")}, true},
		{"a pod", cluster.Event{Pod: &cluster.Pod{}}, false},
		{"all are known", cluster.Event{Synced: true}, true},
		{"all are known again", cluster.Event{Synced: true}, false},
		{"a node goes", cluster.Event{Deleted: true, Node: &cluster.Node{Name: "n1"}}, true},
		{"a node goes that is not there", cluster.Event{Deleted: true, Node: &cluster.Node{Name: "n1"}}, false},
	} {
		if got := table.Update([]cluster.Event{tc.event}); got != tc.want {
			t.Errorf("%s: changed %v, want %v", tc.name, got, tc.want)
		}
	}
	if !table.Synced() || table.Node("n1") != nil {
		t.Errorf("synced %v, node %v", table.Synced(), table.Node("n1"))
	}
}

// Node after node comes and goes: each has its way, and no other is touched.
func TestARangeGoesToTheNextNodeWhenItsNodeGoes(t *testing.T) {
	table := NewTable()
	table.Update([]cluster.Event{
		{Node: nodeOf(t, "n1 1 10.244.1.0/24 192.0.2.1")},
		{Node: nodeOf(t, "a 2 10.244.2.0/24 192.0.2.2")}, {Node: nodeOf(t, "b 3 10.244.2.0/24 192.0.2.3")},
	})
	local := localOf(t, "10.244.1.0/24", []string{"eth0 1500 192.0.2.1/24"})
	plan := func() *Plan {
		return table.Plan(Config{Node: "n1", Mode: Encap, Gateway: "sluice0"}, local)
	}
	if p := plan(); len(p.Remotes) != 1 || len(p.Remotes["a"].PodCIDRs) != 1 || len(p.Problems) != 1 {
		t.Errorf("with both: %s", text(p))
	}
	table.Update([]cluster.Event{{Deleted: true, Node: &cluster.Node{Name: "a"}}})
	if p := plan(); len(p.Remotes) != 1 || len(p.Remotes["b"].PodCIDRs) != 1 || len(p.Problems) != 0 {
		t.Errorf("after the older went: %s", text(p))
	}
}

func TestClaimsNeverOverlap(t *testing.T) {
	for _, tc := range []struct {
		have []string
		add  string
		want string // whose range is in the way
	}{
		{nil, "10.0.0.0/24", ""},
		{[]string{"10.0.0.0/24"}, "10.0.1.0/24", ""},
		{[]string{"10.0.0.0/24"}, "10.0.0.0/24", "n0"},
		{[]string{"10.0.0.0/24"}, "10.0.0.128/25", "n0"},
		{[]string{"10.0.0.0/24"}, "10.0.0.0/25", "n0"},
		{[]string{"10.0.1.0/24"}, "10.0.0.0/16", "n0"},
		{[]string{"10.0.0.0/24", "10.0.2.0/24", "fd00::/64"}, "10.0.2.0/23", "n1"},
		{[]string{"10.0.0.0/24", "10.0.2.0/24", "fd00::/64"}, "10.0.1.0/24", ""},
		{[]string{"10.0.0.0/24", "10.0.2.0/24", "fd00::/64"}, "fd00::/48", "n2"},
		{[]string{"10.0.0.0/24"}, "::/0", ""},
	} {
		var c claims
		for i, s := range tc.have {
			if _, ok := c.add(netip.MustParsePrefix(s), fmt.Sprintf("n%d", i)); !ok {
				t.Fatalf("%s overlaps", s)
			}
		}
		if other, ok := c.add(netip.MustParsePrefix(tc.add), "new"); other.node != tc.want || ok != (tc.want == "") {
			t.Errorf("%s to %v: %v of %q is in the way, want %q", tc.add, tc.have, other.cidr, other.node, tc.want)
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	table := NewTable()
	var events []cluster.Event
	for i := range 5000 {
		events = append(events, cluster.Event{Node: &cluster.Node{
			Name: fmt.Sprintf("n%d", i), Created: int64(i),
			PodCIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(64 + i/256), byte(i), 0}), 24)},
			Internal: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, byte(i / 256), byte(i)})},
		}})
	}
	table.Update(events)
	for b.Loop() {
		table.Plan(Config{Node: "n0", Mode: Encap, Gateway: "sluice0"}, Local{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/24")}})
	}
}
