package agent

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-cni/sluice/pkg/enforce"
)

// metrics reads the state of the agent's parts when it is asked.
type metrics struct{ a *Agent }

var (
	readyDesc   = prometheus.NewDesc("sluice_ready", "1 if pods can be attached.", nil, nil)
	portsDesc   = prometheus.NewDesc("sluice_ports", "Pods' ports on this node.", nil, nil)
	bundlesDesc = prometheus.NewDesc("sluice_bundles_total", "OpenFlow bundles committed since the agent started.", nil, nil)
	flowsDesc   = prometheus.NewDesc("sluice_flow_changes_total", "Flows added, replaced and deleted since the agent started.", nil, nil)
	failedDesc  = prometheus.NewDesc("sluice_bridge_errors_total", "Times the bridge could not be read or written.", nil, nil)
	cutDesc     = prometheus.NewDesc("sluice_connections_cut_total", "Live connections that lost their permission.", nil, nil)
	problemDesc = prometheus.NewDesc("sluice_policy_problems", "Parts of policies that can't be used, and so allow nothing.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{readyDesc, portsDesc, bundlesDesc, flowsDesc, failedDesc, cutDesc, problemDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), healthTime)
	defer cancel()
	value := func(d *prometheus.Desc, t prometheus.ValueType, v float64) {
		ch <- prometheus.MustNewConstMetric(d, t, v)
	}
	ready := 0.0
	if m.a.ready(ctx) == nil {
		ready = 1
	}
	value(readyDesc, prometheus.GaugeValue, ready)
	var stats enforce.Stats
	var ports, problems int
	if err := m.a.enforcer.Look(ctx, func(v enforce.View) {
		stats, ports, problems = v.Stats(), len(v.Ports()), len(v.Problems())
	}); err != nil {
		return // the loop is stuck or has ended: /healthz says so
	}
	value(portsDesc, prometheus.GaugeValue, float64(ports))
	value(problemDesc, prometheus.GaugeValue, float64(problems))
	value(bundlesDesc, prometheus.CounterValue, float64(stats.Bundles))
	value(flowsDesc, prometheus.CounterValue, float64(stats.Flows))
	value(failedDesc, prometheus.CounterValue, float64(stats.Failed))
	value(cutDesc, prometheus.CounterValue, float64(stats.Cut))
}
