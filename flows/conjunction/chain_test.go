package conjunction

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
	"pgregory.net/rapid"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// Rules come and go under few subjects and on small pages, so that chains are
// long, and grow, shrink and lose links anywhere: what was given out as changes
// adds up to the flows.
func TestChangesOfLongChainsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := New(Layout{
			Table: 6, Priority: 100, ChainPriority: 10, Page: 8, Subject: 2, Peer: 4, Block: 6, Rule: 10, Accepted: 8,
			PageSize: rapid.IntRange(1, 3).Draw(t, "page size"), ClauseCookie: func(page uint32) uint64 { return uint64(page) },
		})
		for class := range uint32(3) {
			// The classes share terms: a page may be on more than one chain.
			table.SetClass(Subject, class+1, []uint32{class + 1, class + 2})
		}
		bridge := map[string]string{}
		longest := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := fmt.Sprintf("rule-%d", rapid.IntRange(0, 19).Draw(t, "rule"))
			if rapid.IntRange(0, 3).Draw(t, "gone") == 0 {
				table.DeleteRule(key)
			} else {
				table.SetRule(key, 1, Rule{Subjects: []uint32{rapid.Uint32Range(1, 4).Draw(t, "subject")}, AnyPeer: true})
			}
			if rapid.Bool().Draw(t, "more at once") {
				continue
			}
			write(t, bridge, table.Take())
			for class := range uint32(3) {
				longest = max(longest, len(table.Chain(class+1)))
			}
		}
		write(t, bridge, table.Take())
		want := map[string]string{}
		for f := range table.Flows() {
			want[flow.Key(f)] = flow.Body(f)
		}
		if !maps.Equal(bridge, want) {
			t.Fatalf("chains of up to %d pages: the changes add up to\n%q\nthe flows are\n%q", longest, list(bridge), list(want))
		}
	})
}

// write makes changes as a bridge does; a flow that is replaced must not be
// deleted too, which would end its counters.
func write(t *rapid.T, bridge map[string]string, c Changes) {
	for _, f := range c.Delete {
		delete(bridge, flow.Key(f))
		if slices.ContainsFunc(c.Add, func(a *ovs.Flow) bool { return flow.Key(a) == flow.Key(f) }) {
			t.Fatalf("deleted and added at once: %s", flow.Key(f))
		}
	}
	for _, f := range c.Add {
		bridge[flow.Key(f)] = flow.Body(f)
	}
}

func list(bridge map[string]string) []string {
	var lines []string
	for k, v := range bridge {
		lines = append(lines, k+" actions="+v)
	}
	slices.Sort(lines)
	return lines
}
