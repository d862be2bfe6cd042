package openflow

import (
	"slices"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

// transports runs a benchmark over ovs-ofctl and natively, on one switch.
func transports(b *testing.B, run func(b *testing.B, bridge *Bridge, clear func())) {
	byNative, byOfctl, s := nativeBridge(b)
	clear := func() { sandboxtest.Run(b, s, "ovs-ofctl", "-O", "OpenFlow15", "del-flows", byNative.Target()) }
	for _, c := range []struct {
		name   string
		bridge *Bridge
	}{{"ofctl", byOfctl}, {"native", byNative}} {
		b.Run(c.name, func(b *testing.B) { run(b, c.bridge, clear) })
	}
}

// benchmarkUpdate commits n flows at a time, others each time, to a bridge that
// holds 10,000, and reports how long the median and the slowest hundredth take.
func benchmarkUpdate(b *testing.B, n int) {
	transports(b, func(b *testing.B, bridge *Bridge, clear func()) {
		clear()
		flows := manyFlows()
		if err := bridge.Commit(b.Context(), &Transaction{Add: flows[:10_000]}); err != nil {
			b.Fatal(err)
		}
		var times []time.Duration
		next := 0
		for b.Loop() {
			tr := &Transaction{Add: flows[next : next+n]}
			next = (next + n) % (many - n)
			start := time.Now()
			if err := bridge.Commit(b.Context(), tr); err != nil {
				b.Fatal(err)
			}
			times = append(times, time.Since(start))
		}
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
	})
}

func BenchmarkUpdateOneFlow(b *testing.B)  { benchmarkUpdate(b, 1) }
func BenchmarkUpdateTenFlows(b *testing.B) { benchmarkUpdate(b, 10) }

func BenchmarkCommitBulk(b *testing.B) {
	flows := manyFlows()
	transports(b, func(b *testing.B, bridge *Bridge, clear func()) {
		for b.Loop() {
			b.StopTimer()
			clear()
			b.StartTimer()
			if err := bridge.Commit(b.Context(), &Transaction{Add: flows}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(many*b.N)/b.Elapsed().Seconds(), "flows/s")
	})
}

func BenchmarkDumpBulk(b *testing.B) {
	flows := manyFlows()
	transports(b, func(b *testing.B, bridge *Bridge, _ func()) {
		if err := bridge.Commit(b.Context(), &Transaction{Add: flows}); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if got, err := bridge.DumpFlows(b.Context()); err != nil || len(got) != many {
				b.Fatal(len(got), err)
			}
		}
	})
}

// BenchmarkEncode is what it takes to make the messages of 100,000 flows.
func BenchmarkEncode(b *testing.B) {
	flows := manyFlows()
	b.ReportAllocs()
	for b.Loop() {
		e := &encoder{}
		for _, f := range flows {
			if _, err := e.flow(f, false); err != nil {
				b.Fatal(err)
			}
		}
	}
}
