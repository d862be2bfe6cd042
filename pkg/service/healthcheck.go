package service

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// HealthCheck is what load balancers outside ask of this node: whether to send it
// connections for a Service whose externalTrafficPolicy is Local.
type HealthCheck struct {
	Service cluster.Key
	// Port is spec.healthCheckNodePort.
	Port uint16
	// LocalEndpoints is the number of ready endpoints on this node: in the family
	// that has more of them, as a pod may be there in both.
	LocalEndpoints int
}

// HealthChecks returns the health checks as of the last Flush, by Service.
func (c *Compiler) HealthChecks() []HealthCheck {
	return slices.SortedFunc(maps.Values(c.checks), func(a, b HealthCheck) int { return compareKeys(a.Service, b.Service) })
}

// check takes note of a Service's health check.
func (c *Compiler) check(s *state) {
	if s.spec == nil || s.spec.HealthCheckPort == 0 {
		delete(c.checks, s.key)
		return
	}
	local := map[netip.Addr]bool{}
	var count [2]int
	for _, slice := range s.slices {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if len(slice.Ports) == 0 || !e.Ready || e.Node != c.at.node || local[e.Addr] {
				continue
			}
			local[e.Addr] = true
			if e.Addr.Is6() {
				count[1]++
			} else {
				count[0]++
			}
		}
	}
	c.checks[s.key] = HealthCheck{s.key, s.spec.HealthCheckPort, max(count[0], count[1])}
}
