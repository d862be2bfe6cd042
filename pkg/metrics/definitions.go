// Package metrics shows the agent's state and what it measures in the terms of
// Prometheus. All metrics are defined here; docs/metrics.md has them too, and a
// test compares the two.
package metrics

import "github.com/prometheus/client_golang/prometheus"

// Type is the type of a metric, in Prometheus' words.
type Type string

// The types of metrics.
const (
	Gauge     Type = "gauge"
	Counter   Type = "counter"
	Histogram Type = "histogram"
)

// Definition is a metric as it is documented.
type Definition struct {
	Name   string
	Type   Type
	Labels []string
	Help   string

	desc    *prometheus.Desc
	buckets []float64
}

// Definitions lists all metrics of Sluice's own, in the order of the documentation.
func Definitions() []*Definition { return definitions }

var definitions []*Definition

func define(t Type, name, help string, labels ...string) *Definition {
	d := &Definition{Name: name, Type: t, Labels: labels, Help: help, desc: prometheus.NewDesc(name, help, labels, nil)}
	definitions = append(definitions, d)
	return d
}

func defineHistogram(name, help string, buckets []float64, labels ...string) *Definition {
	d := define(Histogram, name, help, labels...)
	d.buckets = buckets
	return d
}

// From a tenth of a millisecond, which a bundle takes on a machine at rest, to a
// minute, after which the agent gives up.
var programmingBuckets = []float64{.0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60}

// Attaching a pod takes some ten milliseconds; runtimes give up after minutes.
var cniBuckets = []float64{.005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60}

var (
	buildInfo = define(Gauge, "sluice_build_info", "Always 1; the labels say which build this is.", "version")

	ready              = define(Gauge, "sluice_ready", "1 if pods can be attached.")
	ovsdbConnected     = define(Gauge, "sluice_ovsdb_connected", "1 if there is a connection to the Open vSwitch database with a filled replica.")
	ovsdbReconnects    = define(Counter, "sluice_ovsdb_reconnects_total", "Connections to the Open vSwitch database after the first.")
	vswitchdConnected  = define(Gauge, "sluice_vswitchd_connected", "1 if ovs-vswitchd runs.")
	vswitchdRestarts   = define(Counter, "sluice_vswitchd_restarts_total", "Times another ovs-vswitchd took the place of the one there was.")
	openflowLost       = define(Counter, "sluice_openflow_connections_lost_total", "OpenFlow connections to the bridge that were lost while in use or kept.")
	programmingLatency = defineHistogram("sluice_programming_latency_seconds", "Time from an event of the API server to the switch's answer that the bundle with its flows is in force, one for each event.", programmingBuckets)
	bundleDuration     = defineHistogram("sluice_bundle_duration_seconds", "Time the switch took for a bundle.", programmingBuckets)
	bundles            = define(Counter, "sluice_bundles_total", "OpenFlow bundles committed.")
	flowChanges        = define(Counter, "sluice_flow_changes_total", "Flows added, replaced and deleted.")
	bridgeErrors       = define(Counter, "sluice_bridge_errors_total", "Times the bridge could not be read or written.")
	bundlesRefused     = define(Counter, "sluice_bundles_refused_total", "Bundles that the switch refused; among sluice_bridge_errors_total.")
	resyncs            = define(Counter, "sluice_resyncs_total", "Times the bridge was compared with what it should hold, after ovs-vswitchd had started anew or others had restored flows.")
	flowsByTable       = define(Gauge, "sluice_flows", "Flows on the bridge.", "table")

	ports      = define(Gauge, "sluice_ports", "Pods' ports on this node.")
	rules      = define(Gauge, "sluice_rules", "Rules of policies in force on this node.", "direction")
	identities = define(Gauge, "sluice_identities", "Classes of peers that no rule tells apart.", "direction")
	problems   = define(Gauge, "sluice_policy_problems", "Parts of policies that can't be used, and so allow nothing.")

	allowed        = define(Counter, "sluice_attempts_allowed_total", "Attempts at a connection that a rule allowed. Those that need no rule are not counted.", "direction")
	denied         = define(Counter, "sluice_attempts_denied_total", "Attempts at a connection that were denied because no rule allowed them at an isolated pod (isolation), or its policies were not known yet (pending).", "direction", "reason")
	dropped        = define(Counter, "sluice_packets_dropped_total", "Packets dropped that begin no connection: from an address that is not the pod's (spoof), of no connection (invalid), to nothing that is there (unroutable), of the tunnel but not from a node (encapsulated).", "reason")
	ruleAttempts   = define(Counter, "sluice_rule_attempts_total", "Attempts at a connection that a rule allowed, by rule; only with ruleMetrics: true.", "namespace", "policy", "direction", "rule")
	trafficCounted = define(Gauge, "sluice_traffic_counted", "1 if the datapath counts what connections carry.")
	connections    = define(Counter, "sluice_connections_allowed_total", "Connections that a rule allowed; only where sluice_traffic_counted is 1.", "direction")
	packets        = define(Counter, "sluice_connection_packets_total", "Packets of connections that a rule allowed, both ways; only where sluice_traffic_counted is 1.", "direction")
	bytes          = define(Counter, "sluice_connection_bytes_total", "Bytes of connections that a rule allowed, both ways, from the IP header on; only where sluice_traffic_counted is 1.", "direction")
	trafficLost    = define(Counter, "sluice_connection_events_lost_total", "Times the kernel's events of connections were lost, and with them what connections had carried that ended then.")
	cut            = define(Counter, "sluice_connections_cut_total", "Live connections that lost their permission and were removed from connection tracking.")
	sweepDuration  = defineHistogram("sluice_sweep_duration_seconds", "Time to judge the live connections of a family anew.", programmingBuckets, "family")

	cniDuration = defineHistogram("sluice_cni_duration_seconds", "Time a CNI command took, failed ones as well.", cniBuckets, "command")
	cniErrors   = define(Counter, "sluice_cni_errors_total", "CNI commands that failed, by the code of the error.", "command", "code")
)
