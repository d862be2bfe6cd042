package random

import (
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/pkg/check/verdicts"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

// What a node says of itself: on a bridge that is as it should be, none of the
// verdicts that sluice check --policies chooses to look at differs.
func TestTheSelfCheckFindsNothingToSayAgainstRandomClusters(t *testing.T) {
	traced := 0
	for seed := seeds(t); traced < *atLeast/2; seed++ {
		w := FromSeed(seed, Small)
		gateways, addrs := gatewayAddrs(0), nodeAddrs(0)
		var cidrs []netip.Prefix
		for _, text := range podCIDRs(0) {
			cidrs = append(cidrs, netip.MustParsePrefix(text))
		}
		bed, err := simulate.Start(t.Context(), simulate.Options{Node: w.Node, PodCIDRs: cidrs, Addrs: append(addrs[:], gateways[:]...)})
		must(t, err)
		store := verdicts.NewStore()
		events := append(eventsOf(t, w), cluster.Event{Synced: true})
		store.Update(events)
		bed.Emit(events)
		for _, p := range w.Pods {
			if addrs := PortAddrs(p); p.Spec.NodeName == w.Node && len(addrs) > 0 {
				must(t, bed.Attach(t.Context(), cluster.Key{Namespace: p.Namespace, Name: p.Name}, string(p.UID), addrs))
			}
		}
		must(t, bed.Sync(t.Context()))
		checker := verdicts.New(verdicts.Config{
			Node: w.Node, Enforcer: bed.Enforcer, Observer: bed.Observer, Store: store, Ranges: func() []netip.Prefix { return nil },
		})
		report, err := checker.Run(t.Context(), api.VerdictRequest{Max: 500, Seed: seed + 1}, nil)
		must(t, err)
		for _, d := range report.Differences {
			t.Errorf("seed %d: %+v", seed, d)
		}
		traced += report.Traced
		must(t, bed.Close())
		if t.Failed() {
			return
		}
	}
	t.Logf("%d connections traced as the oracle has them", traced)
}

// eventsOf are the objects of a cluster as a source tells of them.
func eventsOf(t *testing.T, w *Cluster) (events []cluster.Event) {
	t.Helper()
	for _, g := range Diff(nil, w) {
		var e cluster.Event
		var err error
		switch {
		case g.Namespace != nil:
			e.Namespace = cluster.TrimNamespace(g.Namespace)
		case g.Policy != nil:
			e.Policy = cluster.TrimPolicy(g.Policy)
		case g.Pod != nil:
			e.Pod, err = cluster.TrimPod(g.Pod)
		}
		must(t, err)
		events = append(events, e)
	}
	return events
}
