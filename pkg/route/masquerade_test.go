package route

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/knftables"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

const frame = `
add table inet sluice { comment "rules of the sluice-agent; changes are undone" ; }
add chain inet sluice postrouting { type nat hook postrouting priority 100 ; }
add set inet sluice cluster-pods-4 { type ipv4_addr ; flags interval ; comment "pod ranges of the cluster" ; }
add set inet sluice cluster-pods-6 { type ipv6_addr ; flags interval ; comment "pod ranges of the cluster" ; }
add set inet sluice node-pods-4 { type ipv4_addr ; flags interval ; comment "pod ranges of this node" ; }
add set inet sluice node-pods-6 { type ipv6_addr ; flags interval ; comment "pod ranges of this node" ; }
add rule inet sluice postrouting iifname "sluice0" oifname != "sluice0" ip saddr @node-pods-4 ip daddr != @cluster-pods-4 counter masquerade fully-random comment "pods to outside the cluster (47947f92)"
add rule inet sluice postrouting iifname "sluice0" oifname != "sluice0" ip6 saddr @node-pods-6 ip6 daddr != @cluster-pods-6 counter masquerade fully-random comment "pods to outside the cluster (1f95aea4)"
`

func TestTheTableIsOfTheNodesAndTheClustersPodRanges(t *testing.T) {
	own := prefixes("10.244.1.0/24", "fd00:1::/64")
	for _, tc := range []struct{ name, ranges, want string }{
		{"one node", "", `
add element inet sluice cluster-pods-4 { 10.244.1.0/24 }
add element inet sluice cluster-pods-6 { fd00:1::/64 }
add element inet sluice node-pods-4 { 10.244.1.0/24 }
add element inet sluice node-pods-6 { fd00:1::/64 }
`},
		{"more nodes", "10.244.2.0/24 fd00:2::/64 10.244.0.0/24", `
add element inet sluice cluster-pods-4 { 10.244.0.0/24 }
add element inet sluice cluster-pods-4 { 10.244.1.0/24 }
add element inet sluice cluster-pods-4 { 10.244.2.0/24 }
add element inet sluice cluster-pods-6 { fd00:1::/64 }
add element inet sluice cluster-pods-6 { fd00:2::/64 }
add element inet sluice node-pods-4 { 10.244.1.0/24 }
add element inet sluice node-pods-6 { fd00:1::/64 }
`},
		{"ranges within others, and of one address", "10.244.0.0/16 10.9.9.9/32 10.244.1.0/24", `
add element inet sluice cluster-pods-4 { 10.244.0.0/16 }
add element inet sluice cluster-pods-4 { 10.9.9.9 }
add element inet sluice cluster-pods-6 { fd00:1::/64 }
add element inet sluice node-pods-4 { 10.244.1.0/24 }
add element inet sluice node-pods-6 { fd00:1::/64 }
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := knftables.NewFake(knftables.InetFamily, Table)
			m := &Masquerade{nft: fake, gateway: "sluice0"}
			if changed, err := m.Ensure(t.Context(), own, prefixes(strings.Fields(tc.ranges)...)); err != nil || !changed {
				t.Fatalf("changed %v, error %v", changed, err)
			}
			want := strings.TrimPrefix(frame, "\n") + strings.TrimPrefix(tc.want, "\n")
			if diff := cmp.Diff(want, fake.Dump()); diff != "" {
				t.Errorf("table (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnlyTheDifferenceIsWritten(t *testing.T) {
	own, all := prefixes("10.244.1.0/24"), prefixes("10.244.0.0/24", "10.244.2.0/24")
	set := "inet sluice cluster-pods-4"
	for _, tc := range []struct {
		name   string
		before func(*knftables.Transaction)
		all    []netip.Prefix
		want   string // "whole" for all of it
	}{
		{name: "nothing is different", all: all},
		{name: "order is none", all: prefixes("10.244.2.0/24", "10.244.0.0/24", "10.244.1.0/24")},
		{name: "a node comes", all: append(prefixes("10.244.3.0/24"), all...), want: "add element " + set + " { 10.244.3.0/24 }\n"},
		{name: "a node goes", all: all[:1], want: "delete element " + set + " { 10.244.2.0/24 }\n"},
		{
			name: "a range gets wider: what it overlaps goes first", all: append(prefixes("10.244.2.0/23"), all[:1]...),
			want: "delete element " + set + " { 10.244.2.0/24 }\nadd element " + set + " { 10.244.2.0/23 }\n",
		},
		{
			name: "an element that somebody added", all: all,
			before: func(tx *knftables.Transaction) {
				tx.Add(&knftables.Element{Set: "cluster-pods-4", Key: []string{"192.0.2.0/24"}})
			},
			want: "delete element " + set + " { 192.0.2.0/24 }\n",
		},
		{name: "rules that somebody flushed", all: all, want: "whole", before: func(tx *knftables.Transaction) {
			tx.Flush(&knftables.Chain{Name: chain})
		}},
		{name: "a rule that somebody added", all: all, want: "whole", before: func(tx *knftables.Transaction) {
			tx.Add(&knftables.Rule{Chain: chain, Rule: "accept"})
		}},
		{name: "a table that somebody deleted", all: all, want: "whole", before: func(tx *knftables.Transaction) {
			tx.Delete(&knftables.Table{})
		}},
		{name: "a table of another, that has a set less", all: all, want: "whole", before: func(tx *knftables.Transaction) {
			tx.Flush(&knftables.Chain{Name: chain})
			tx.Delete(&knftables.Set{Name: "node-pods-6"})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fake := knftables.NewFake(knftables.InetFamily, Table)
			m := &Masquerade{nft: fake, gateway: "sluice0"}
			if _, err := m.Ensure(t.Context(), own, all); err != nil {
				t.Fatal(err)
			}
			whole := fake.LastTransaction.String()
			if tc.before != nil {
				tx := fake.NewTransaction()
				tc.before(tx)
				if err := fake.Run(t.Context(), tx); err != nil {
					t.Fatal(err)
				}
			}
			if tc.want == "whole" {
				tc.want = whole
			}
			fake.LastTransaction = nil
			changed, err := m.Ensure(t.Context(), own, tc.all)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if fake.LastTransaction != nil {
				got = fake.LastTransaction.String()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || changed != (tc.want != "") {
				t.Errorf("changed %v; transaction (-want +got):\n%s", changed, diff)
			}
		})
	}
}
