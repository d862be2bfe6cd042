package metrics

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/component-base/version"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/stats"
	"github.com/sluice-cni/sluice/pkg/traffic"
)

// Sources are what is read when metrics are gathered.
type Sources struct {
	// Ready returns why pods can't be attached.
	Ready func(context.Context) error
	// Look shows the enforcer's state.
	Look func(context.Context, func(enforce.View)) error
	// FlowsByTable counts the flows on the bridge.
	FlowsByTable func(context.Context) (map[uint8]int, error)
	// OpenFlowLost, OVSDB and Vswitchd tell of the connections to Open vSwitch.
	OpenFlowLost func() uint64
	OVSDB        func() (connected bool, reconnects uint64)
	Vswitchd     func() (runs bool, restarts uint64)
	// Stats are the statistics; Rules shows them for each rule.
	Stats *stats.Collector
	Rules bool
	// Traffic are the totals of what connections carried.
	Traffic *traffic.Tracker
}

// readTime bounds a gathering: what does not answer by then is left out.
const readTime = 5 * time.Second

// reader implements prometheus.Collector.
type reader struct{ Sources }

// Describe implements prometheus.Collector: which metrics come depends on what
// answers.
func (r *reader) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (r *reader) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	value := func(d *Definition, v float64, labels ...string) {
		t := prometheus.GaugeValue
		if d.Type == Counter {
			t = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(d.desc, t, v, labels...)
	}
	value(buildInfo, 1, version.Get().GitVersion)
	value(ready, truth(r.Ready(ctx) == nil))
	up, n := r.OVSDB()
	value(ovsdbConnected, truth(up))
	value(ovsdbReconnects, float64(n))
	up, n = r.Vswitchd()
	value(vswitchdConnected, truth(up))
	value(vswitchdRestarts, float64(n))
	value(openflowLost, float64(r.OpenFlowLost()))
	if tables, err := r.FlowsByTable(ctx); err == nil {
		// Somebody else may have flows in tables that have no name here, and nothing is
		// gathered at all where two metrics have the same labels.
		byName := map[string]int{}
		for t, n := range tables {
			byName[flows.Table(t).String()] += n
		}
		for name, n := range byName {
			value(flowsByTable, float64(n), name)
		}
	}
	r.enforcer(ctx, value)
	r.statistics(ctx, value)
	r.traffic(value)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (r *reader) enforcer(ctx context.Context, value func(*Definition, float64, ...string)) {
	var s enforce.Stats
	var nPorts, nProblems int
	var nRules, nIdentities [2]int
	if err := r.Look(ctx, func(v enforce.View) {
		s, nPorts, nProblems = v.Stats(), len(v.Ports()), len(v.Problems())
		for _, d := range flows.Directions {
			nRules[d], nIdentities[d] = v.Pipeline().NumRules(d), v.Pipeline().NumIdentities(d)
		}
	}); err != nil {
		return // the loop is stuck or has ended: /healthz says so
	}
	value(ports, float64(nPorts))
	value(problems, float64(nProblems))
	for _, d := range flows.Directions {
		value(rules, float64(nRules[d]), d.String())
		value(identities, float64(nIdentities[d]), d.String())
	}
	value(bundles, float64(s.Bundles))
	value(flowChanges, float64(s.Flows))
	value(bridgeErrors, float64(s.Failed))
	value(bundlesRefused, float64(s.Refused))
	value(resyncs, float64(s.Resyncs))
	value(cut, float64(s.Cut))
}

func (r *reader) traffic(value func(*Definition, float64, ...string)) {
	err := r.Traffic.Err()
	value(trafficCounted, truth(err == nil))
	if err != nil {
		return // zeros would be a statement
	}
	value(trafficLost, float64(r.Traffic.Lost()))
	for _, d := range flows.Directions {
		n := r.Traffic.Sum(d)
		value(connections, float64(n.Connections), d.String())
		value(packets, float64(n.Packets), d.String())
		value(bytes, float64(n.Bytes), d.String())
	}
}

// statistics shows totals as they were last read, if they can't be read now.
func (r *reader) statistics(ctx context.Context, value func(*Definition, float64, ...string)) {
	_ = r.Stats.Collect(ctx)
	for _, v := range r.Stats.Verdicts() {
		n := float64(v.Attempts)
		switch v.Kind {
		case flows.KindEgressRule, flows.KindIngressRule:
			value(allowed, n, flows.Direction(v.Kind-flows.KindEgressRule).String())
		case flows.KindEgressIsolation, flows.KindIngressIsolation:
			value(denied, n, flows.Direction(v.Kind-flows.KindEgressIsolation).String(), "isolation")
		case flows.KindEgressPending, flows.KindIngressPending:
			value(denied, n, flows.Direction(v.Kind-flows.KindEgressPending).String(), "pending")
		default:
			value(dropped, n, v.Kind.String())
		}
	}
	if !r.Rules {
		return
	}
	for key, n := range r.Stats.Rules() {
		// NetworkPolicy/NAMESPACE/POLICY/DIRECTION/RULE
		if p := strings.SplitN(string(key), "/", 5); len(p) == 5 {
			value(ruleAttempts, float64(n.Attempts), p[1:]...)
		}
	}
}
