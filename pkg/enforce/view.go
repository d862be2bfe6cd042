package enforce

import (
	"cmp"
	"errors"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/policy"
	"github.com/sluice-cni/sluice/pkg/service"
)

// View is what Look shows. It is valid only during the call.
type View struct{ e *Enforcer }

// Pipeline returns the pipeline, to be read only.
func (v View) Pipeline() *flows.Pipeline { return v.e.pipeline }

// Compiler returns the compiler, to be read only.
func (v View) Compiler() *policy.Compiler { return v.e.compiler }

// Services returns the compiler of Services, to be read only.
func (v View) Services() *service.Compiler { return v.e.services }

// Port returns a port by its name.
func (v View) Port(name string) (policy.LocalPort, bool) {
	p, ok := v.e.ports[name]
	return p, ok
}

// PortOf returns the port of a pod.
func (v View) PortOf(pod cluster.Key) (policy.LocalPort, bool) {
	for _, p := range v.e.ports {
		if p.Pod == pod {
			return p, true
		}
	}
	return policy.LocalPort{}, false
}

// Ports returns all ports by name.
func (v View) Ports() map[string]policy.LocalPort { return v.e.ports }

// Node returns the node as the bridge knows it.
func (v View) Node() (flows.Node, error) {
	if n := v.e.pipeline.Node(); n != nil {
		return *n, nil
	}
	return flows.Node{}, errors.New("the bridge is not set up yet")
}

// Unmetered returns why the bridge tells of no verdicts though it was asked to, nil
// if it does.
func (v View) Unmetered() error { return v.e.unmetered }

// Known reports whether the enforcer has heard of the whole cluster and has found
// its own numbers in the flows of an earlier one. Before that pods and policies
// have no names.
func (v View) Known() bool { return v.e.started }

// Ready reports whether the bridge has been written since the enforcer started
// and holds what it should.
func (v View) Ready() bool { return v.e.started && !v.e.stale }

// Stats counts what was written.
func (v View) Stats() Stats {
	return Stats{Bundles: v.e.commits, Flows: v.e.written, Failed: v.e.failed, Refused: v.e.refused, Resyncs: v.e.resyncs, Cut: v.e.sweep.cut.Load()}
}

// Problems lists what is wrong with policies that are there, by policy.
func (v View) Problems() []policy.Problem {
	var out []policy.Problem
	for _, ps := range v.e.problems {
		out = append(out, ps...)
	}
	slices.SortFunc(out, func(a, b policy.Problem) int {
		return cmp.Or(cmp.Compare(a.Policy.String(), b.Policy.String()), cmp.Compare(a.Field, b.Field))
	})
	return out
}

// Stats are counters since the enforcer started.
type Stats struct {
	// Bundles is how many bundles were committed, Flows how many flow changes
	// they held.
	Bundles, Flows uint64
	// Failed is how often the bridge could not be read or written.
	Failed uint64
	// Refused is how many bundles the switch has refused; they are among Failed.
	Refused uint64
	// Resyncs is how often the bridge was compared with what it should hold because
	// ovs-vswitchd had started anew, or others had restored flows.
	Resyncs uint64
	// Cut is how many live connections lost their permission and were removed
	// from connection tracking.
	Cut uint64
}
