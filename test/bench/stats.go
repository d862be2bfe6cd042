package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/policy"
	"github.com/sluice-cni/sluice/pkg/stats"
)

// countedRules is how many rules' counters are read.
const countedRules = 10_000

// benchStats times one reading of all counters, from the first request to the
// totals. The reference dumps the same tables, whose clauses nobody needs.
func benchStats(ctx context.Context, r *report) (err error) {
	s, err := newSwitchboard(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var e *enforce.Enforcer
	c := stats.New(ctx, stats.Config{
		Bridge: s.Bridge, Generation: func() (string, error) { return "", nil }, Interval: time.Hour, Fresh: 1,
		Look: func(ctx context.Context, view func(enforce.View)) error { return e.Look(ctx, view) },
	})
	e = enforce.New(enforce.Config{Node: "n1", Bridge: s.Bridge, Counters: c})
	running, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	defer ended.Wait()
	defer stop()
	ended.Go(func() { _ = e.Run(running) })
	events, pods := smallCluster("n1", countedRules, func(i int) netip.Addr { return address("10.244.0.2", i) }), 0
	for _, ev := range events {
		if p := ev.Pod; p != nil && p.Node == "n1" {
			port := portOf(pods, 1).Port
			e.TellPort(policy.LocalPort{Name: p.Name, OFPort: port.OFPort, MAC: port.MAC, Addrs: p.IPs, Pod: p.Key, UID: p.UID})
			pods++
		}
	}
	e.SetNode(*nodeOf())
	e.Emit(events)
	if err := e.Sync(ctx); err != nil {
		return err
	}
	if n := len(c.Rules()); n != countedRules {
		return fmt.Errorf("%d rules are counted, want %d", n, countedRules)
	}
	dump, err := repeat(10, func(int) error {
		for _, t := range []flows.Table{flows.TableEgressPolicy, flows.TableEgressDefault, flows.TableIngressPolicy, flows.TableIngressDefault} {
			if err := s.ofctl(ctx, "dump-flows", s.Target(), fmt.Sprintf("table=%d", t)).Run(); err != nil {
				return fmt.Errorf("ovs-ofctl dump-flows: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var before, after runtime.MemStats
	const readings = 20
	runtime.ReadMemStats(&before)
	took, err := repeat(readings, func(int) error { return c.Collect(ctx) })
	if err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	const of = "ovs-ofctl dump-flows of the policy and default tables"
	r.latencies(fmt.Sprintf("one reading of %d rules' counters", countedRules), took, dump, of)
	r.figure("of it: allocated", size((after.TotalAlloc-before.TotalAlloc)/readings))
	r.figure("of it: allocations", count((after.Mallocs-before.Mallocs)/readings))
	idle, err := repeat(readings, func(int) error { return e.Look(ctx, func(enforce.View) {}) })
	if err != nil {
		return err
	}
	r.figure("a look at the enforcer's state that does nothing", seconds(idle.percentile(50)))
	return benchStatsChange(ctx, r, e)
}

// benchStatsChange times a policy that goes, whose rule's counter is read before.
// The reference is one that comes, which needs no reading.
func benchStatsChange(ctx context.Context, r *report, e *enforce.Enforcer) error {
	var come, gone times
	for i := range 50 {
		for _, deleted := range []bool{false, true} {
			took, err := clock(func() error {
				e.Emit([]cluster.Event{{Policy: policyOf(countedRules + i), Deleted: deleted}})
				return e.Sync(ctx)
			})
			if err != nil {
				return err
			}
			if deleted {
				gone = append(gone, took)
			} else {
				come = append(come, took)
			}
		}
	}
	r.latencies("a policy deleted, its counter read before", gone, come, "a policy added")
	return nil
}
