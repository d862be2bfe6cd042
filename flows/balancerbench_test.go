package flows

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
)

// manyBalancers are Services of ten endpoints each.
func manyBalancers(n int) []BalancerChange {
	out := make([]BalancerChange, 0, n)
	for i := range n {
		b := &Balancer{Protocol: TCP, Frontends: []Frontend{{Addr: netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}), Port: 80}}}
		for e := range 10 {
			b.Endpoints[ScopeCluster] = append(b.Endpoints[ScopeCluster], netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(1 + e), byte(i >> 8), byte(i)}), 8080))
		}
		out = append(out, BalancerChange{BalancerKey(fmt.Sprintf("ns/svc%d:80/ipv4", i)), b})
	}
	return out
}

func balanced10(b *testing.B, n int) *Pipeline {
	p, node := New(), serviceNode()
	if _, err := p.Apply(Delta{Node: &node}); err != nil {
		b.Fatal(err)
	}
	if _, err := p.Apply(Delta{Balancers: manyBalancers(n)}); err != nil {
		b.Fatal(err)
	}
	return p
}

// One endpoint of one Service goes or comes, with few or many others standing.
func BenchmarkOneEndpointOfAService(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := balanced10(b, n)
			c := manyBalancers(1)[0]
			all := c.Balancer.Endpoints[ScopeCluster]
			for i := 0; b.Loop(); i++ {
				now := *c.Balancer
				now.Endpoints[ScopeCluster] = all[:9+i%2]
				out, err := p.Apply(Delta{Balancers: []BalancerChange{{c.Key, &now}}})
				if err != nil || len(out.SetGroups) > 1 || len(out.Add)+len(out.Delete) > 1 {
					b.Fatalf("%d groups, %d flows, %v", len(out.SetGroups), len(out.Add)+len(out.Delete), err)
				}
			}
		})
	}
}

// What a pipeline keeps of 10,000 Services with ten endpoints each.
func BenchmarkMemoryOfServices(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		p := balanced10(b, 10000)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		runtime.KeepAlive(p)
	}
}
