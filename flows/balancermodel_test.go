package flows

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// groupTable is a model of a bridge's groups.
type groupTable map[uint32]*Group

func byID(a, b *Group) int { return int(int64(a.ID) - int64(b.ID)) }

func (gs groupTable) write(t *rapid.T, c Changes) {
	for _, g := range c.SetGroups {
		gs[g.ID] = g
	}
	for _, id := range c.DeleteGroups {
		if gs[id] == nil {
			t.Fatalf("deletes group %d, which is not there", id)
		}
		delete(gs, id)
	}
}

// check checks that whatever flows and groups lead to is there, that each endpoint
// and frontend can be committed.
func (gs groupTable) check(t *rapid.T, b bridge) {
	used := map[uint32]bool{}
	fronts, endpoints := map[string]bool{}, map[string]bool{}
	for _, f := range b {
		switch Cookie(f.Cookie).Kind() {
		case KindFrontend:
			fronts[matchOf(f, regFrontend.String())] = true
		case KindEndpoint:
			endpoints[matchOf(f, regEndpoint.String())] = true
		}
		if id := groupOf(f); id != 0 {
			used[id] = true
		}
	}
	for _, f := range b {
		if Table(f.Table) == TableServiceLB {
			if id := setTo(f, regFrontend.String()); id != 0 && !fronts[fmt.Sprintf("%#x", id)] {
				t.Fatalf("frontend %d is never given back", id)
			}
		}
	}
	for _, g := range gs {
		if len(g.Buckets) == 0 {
			t.Fatalf("group %d is empty", g.ID)
		}
		seen := map[uint32]bool{}
		for _, k := range g.Buckets {
			if seen[k.ID] {
				t.Fatalf("group %d has bucket %d twice", g.ID, k.ID)
			}
			seen[k.ID] = true
			if textOf(k.Actions[0]) == groupText(k.ID) {
				used[k.ID] = true
			} else if k.ID == fillerID {
				if !reflect.DeepEqual(k.Actions, g.Buckets[0].Actions) {
					t.Fatalf("group %d is filled up with what is no endpoint of it", g.ID)
				}
			} else if !endpoints[fmt.Sprintf("%#x", k.ID)] {
				t.Fatalf("endpoint %d is never committed", k.ID)
			}
		}
	}
	for id := range used {
		if gs[id] == nil {
			t.Fatalf("a flow or bucket leads to group %d, which is not there", id)
		}
	}
}

// drawBalancers draws changes of some balancers; a frontend may go from one to
// another.
func (w *world) drawBalancers(t *rapid.T) []BalancerChange {
	var out []BalancerChange
	taken := map[spot]bool{}
	changed := rapid.SliceOfNDistinct(rapid.IntRange(0, 3), 1, 3, rapid.ID[int]).Draw(t, "balancers")
	for k, b := range w.balancers {
		if !slices.ContainsFunc(changed, func(i int) bool { return balancerName(i) == k }) {
			for s := range b.spots() {
				taken[s] = true
			}
		}
	}
	for _, i := range changed {
		c := BalancerChange{Key: balancerName(i)}
		if rapid.IntRange(0, 3).Draw(t, "gone") > 0 {
			b := drawBalancer(t)
			b.Frontends = slices.DeleteFunc(b.Frontends, func(f Frontend) bool {
				return taken[spot{b.Protocol, netip.AddrPortFrom(f.Addr, f.Port), b.family().Is6()}]
			})
			for s := range b.spots() {
				taken[s] = true
			}
			if len(b.Frontends) > 0 {
				c.Balancer = b
			}
		}
		out = append(out, c)
	}
	return out
}

func balancerName(i int) BalancerKey { return BalancerKey(fmt.Sprintf("ns/svc%d:port/ipv4", i)) }

func drawBalancer(t *rapid.T) *Balancer {
	b := &Balancer{
		Protocol: rapid.SampledFrom([]uint8{TCP, UDP, SCTP}).Draw(t, "protocol"),
		Affinity: time.Duration(rapid.SampledFrom([]int{0, 0, 1, 10800}).Draw(t, "affinity")) * time.Second,
	}
	is6 := rapid.Bool().Draw(t, "ipv6")
	addr := func(v4, v6 string, i int) netip.Addr {
		if is6 {
			return netip.MustParseAddr(fmt.Sprintf("%s%x", v6, i))
		}
		return netip.MustParseAddr(fmt.Sprintf("%s%d", v4, i))
	}
	scope := func() Scope { return Scope(rapid.IntRange(0, 1).Draw(t, "scope")) }
	for i := range rapid.IntRange(1, 3).Draw(t, "frontends") {
		f := Frontend{Addr: addr("10.96.0.", "fd00:96::", rapid.IntRange(1, 4).Draw(t, "frontend")), Port: 80, Inside: scope(), Outside: scope()}
		if i == 2 {
			f = Frontend{Port: uint16(rapid.IntRange(30000, 30003).Draw(t, "node port")), Outside: scope()}
		}
		if from := netip.MustParsePrefix("198.51.100.0/24"); !is6 && rapid.IntRange(0, 4).Draw(t, "sources") == 0 {
			f.Sources = []netip.Prefix{from}
		}
		if !slices.ContainsFunc(b.Frontends, func(o Frontend) bool { return o.Addr == f.Addr && o.Port == f.Port }) {
			b.Frontends = append(b.Frontends, f)
		}
	}
	sizes := []int{0, 1, 2, 3, 5, 7, maxHashed + 1, maxBuckets + 1}
	for i := range rapid.SampledFrom(sizes).Draw(t, "endpoints") {
		e := netip.AddrPortFrom(addr("10.0.1.", "fd00:1::", 1+i%250), uint16(8000+i/250+rapid.IntRange(0, 1).Draw(t, "port")))
		if slices.Contains(b.Endpoints[ScopeCluster], e) {
			continue
		}
		b.Endpoints[ScopeCluster] = append(b.Endpoints[ScopeCluster], e)
		if i%3 == 0 {
			b.Endpoints[ScopeLocal] = append(b.Endpoints[ScopeLocal], e)
		}
	}
	return b
}
