package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// Metrics are what the agent's parts tell as it happens, and what is read from
// them when somebody asks.
type Metrics struct {
	registry *prometheus.Registry

	programming, bundle, sweep, cni *prometheus.HistogramVec
	cniErrors                       *prometheus.CounterVec
}

// New returns metrics that read their sources when they are gathered.
func New(s Sources) *Metrics {
	m := &Metrics{
		registry:    prometheus.NewRegistry(),
		programming: histogram(programmingLatency),
		bundle:      histogram(bundleDuration),
		sweep:       histogram(sweepDuration),
		cni:         histogram(cniDuration),
		cniErrors:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: cniErrors.Name, Help: cniErrors.Help}, cniErrors.Labels),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.programming, m.bundle, m.sweep, m.cni, m.cniErrors, &reader{s},
	)
	// Those without labels are there from the start.
	m.programming.WithLabelValues()
	m.bundle.WithLabelValues()
	return m
}

func histogram(d *Definition) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: d.buckets}, d.Labels)
}

// Gatherer gathers all metrics, those of the Go runtime and the process as well.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Hooks are those of the enforcer.
func (m *Metrics) Hooks() enforce.Hooks {
	return enforce.Hooks{
		Written: func(w enforce.Written) {
			m.bundle.WithLabelValues().Observe(w.Took.Seconds())
			for _, d := range w.Events {
				m.programming.WithLabelValues().Observe(d.Seconds())
			}
		},
		Swept: func(s enforce.Swept) {
			family := "ipv4"
			if s.Zone == flows.ZoneIPv6 {
				family = "ipv6"
			}
			m.sweep.WithLabelValues(family).Observe(s.Took.Seconds())
		},
	}
}

// Command hears of a CNI command that has ended; code is that of its error, zero
// if it succeeded.
func (m *Metrics) Command(command string, took time.Duration, code uint) {
	m.cni.WithLabelValues(command).Observe(took.Seconds())
	if code != 0 {
		m.cniErrors.WithLabelValues(command, strconv.FormatUint(uint64(code), 10)).Inc()
	}
}
