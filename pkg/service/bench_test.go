package service

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Services and their endpoints in the benchmarks.
const (
	manyServices     = 10_000
	endpointsOfEach  = 10
	nodesInTheirZone = 500
)

// many are the events that tell of many Services, each with one slice.
func many() (events []cluster.Event) {
	for i := range manyServices {
		key := cluster.Key{Namespace: fmt.Sprint("ns-", i/20), Name: fmt.Sprint("svc-", i)}
		events = append(events, set(&cluster.Service{
			Key: key, ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
			Ports: []cluster.ServicePort{{Name: "http", Protocol: "TCP", Port: 80}},
		}), set(manySlice(key, i, endpointsOfEach)))
	}
	return events
}

func manySlice(key cluster.Key, i, endpoints int) *cluster.EndpointSlice {
	s := &cluster.EndpointSlice{
		Key: cluster.Key{Namespace: key.Namespace, Name: key.Name + "-x7k2p"}, Service: key.Name,
		Ports: []cluster.EndpointPort{{Name: "http", Protocol: "TCP", Port: 8080}},
	}
	for j := range endpoints {
		n := i*endpointsOfEach + j
		s.Endpoints = append(s.Endpoints, cluster.Endpoint{
			Addr: netip.AddrFrom4([4]byte{10, 244 + byte(n>>16), byte(n >> 8), byte(n)}), Node: fmt.Sprint("node-", n%nodesInTheirZone),
			Ready: true, Serving: true,
		})
	}
	return s
}

// BenchmarkStart is the first listing of 10,000 Services with 10 endpoints each.
// B/service is what the compiler keeps of each, beside the objects of the events.
func BenchmarkStart(b *testing.B) {
	events := many()
	var c *Compiler
	var kept uint64
	for b.Loop() {
		b.StopTimer()
		c = nil
		before := heap()
		b.StartTimer()
		c = New("node-1")
		c.Update(events...)
		c.Flush()
		b.StopTimer()
		kept = heap() - before
		b.StartTimer()
	}
	b.ReportMetric(float64(kept)/manyServices, "B/service")
	runtime.KeepAlive(events)
	runtime.KeepAlive(c)
}

// BenchmarkOneSlice is a change of one slice of 10 endpoints among 10,000
// Services.
func BenchmarkOneSlice(b *testing.B) {
	c := New("node-1")
	c.Update(many()...)
	c.Flush()
	key := cluster.Key{Namespace: "ns-1", Name: "svc-20"}
	versions := []cluster.Event{set(manySlice(key, 20, endpointsOfEach-1)), set(manySlice(key, 20, endpointsOfEach))}
	i := 0
	for b.Loop() {
		c.Update(versions[i&1])
		if changes, _ := c.Flush(); len(changes) != 1 {
			b.Fatalf("%d changes", len(changes))
		}
		i++
	}
}

// BenchmarkOneService is a change of one Service among 10,000.
func BenchmarkOneService(b *testing.B) {
	c := New("node-1")
	c.Update(many()...)
	c.Flush()
	version := func(local bool) cluster.Event {
		s := *c.services[cluster.Key{Namespace: "ns-1", Name: "svc-20"}].spec
		s.InternalLocal = local
		return set(&s)
	}
	versions := []cluster.Event{version(true), version(false)}
	i := 0
	for b.Loop() {
		c.Update(versions[i&1])
		if changes, _ := c.Flush(); len(changes) != 1 {
			b.Fatalf("%d changes", len(changes))
		}
		i++
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
