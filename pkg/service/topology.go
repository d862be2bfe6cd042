package service

import (
	"slices"

	"github.com/sluice-cni/sluice/flows"
)

// Topology says by which hints the endpoints of ScopeCluster were picked.
type Topology uint8

// The ways to pick endpoints.
const (
	// AnyEndpoint is every endpoint that serves.
	AnyEndpoint Topology = iota
	// SameZone is those with a hint for this node's zone.
	SameZone
	// SameNode is those with a hint for this node.
	SameNode
)

// String returns the topology in the words of spec.trafficDistribution, "" for
// AnyEndpoint.
func (t Topology) String() string {
	switch t {
	case SameZone:
		return "PreferSameZone"
	case SameNode:
		return "PreferSameNode"
	}
	return ""
}

// place is where a compiler's node is.
type place struct {
	node, zone string
}

// topology decides by which hints the endpoints are picked; by none if nobody is
// ready. Hints are given to all or none: one ready endpoint without makes the
// others' void, as they were given when the load was shared out otherwise.
func (at place) topology(all []endpoint) Topology {
	ready, nodes, zones := false, true, true // all ready ones have hints
	forNode, forZone := false, false
	for i := range all {
		e := &all[i]
		if !e.Ready {
			continue
		}
		ready = true
		nodes = nodes && len(e.ForNodes) > 0
		zones = zones && len(e.ForZones) > 0
		forNode = forNode || slices.Contains(e.ForNodes, at.node)
		forZone = forZone || slices.Contains(e.ForZones, at.zone)
	}
	switch {
	case ready && nodes && forNode:
		return SameNode
	case ready && zones && forZone:
		return SameZone
	}
	return AnyEndpoint
}

// available reports whether an endpoint is one to pick.
func (at place) available(e *endpoint, t Topology) bool {
	switch t {
	case SameNode:
		return slices.Contains(e.ForNodes, at.node)
	case SameZone:
		return slices.Contains(e.ForZones, at.zone)
	}
	return true
}

// pick returns the endpoints that serve in each scope, in the order given.
func (at place) pick(all []endpoint) (picked [2][]endpoint, t Topology) {
	t = at.topology(all)
	picked[flows.ScopeCluster] = serving(all, func(e *endpoint) bool { return at.available(e, t) })
	picked[flows.ScopeLocal] = serving(all, func(e *endpoint) bool { return at.local(e) })
	return picked, t
}

// local reports whether an endpoint is on this node.
func (at place) local(e *endpoint) bool { return at.node != "" && e.Node == at.node }

// serving returns the ready endpoints among those that may be used; if there are
// none, those that still serve while they terminate.
func serving(all []endpoint, use func(*endpoint) bool) (out []endpoint) {
	for i := range all {
		if e := &all[i]; e.Ready && use(e) {
			out = append(out, *e)
		}
	}
	if len(out) > 0 {
		return out
	}
	for i := range all {
		if e := &all[i]; !e.Ready && e.Serving && e.Terminating && use(e) {
			out = append(out, *e)
		}
	}
	return out
}
