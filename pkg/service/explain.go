package service

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Info says whose a frontend is.
type Info struct {
	Service cluster.Key
	// PortName is the name of the Service's port, empty if it has none.
	PortName string
	// Port is the Service's port, also where the frontend is a node port.
	Port uint16
	// Kind is what the frontend is to the Service.
	Kind Kind
	// Key names its balancer.
	Key flows.BalancerKey
	// Topology says by which hints its endpoints were picked.
	Topology Topology
}

// ByFrontend finds whose frontend an address, protocol and port are, as of the
// last Flush. At an address of this node's Node object it finds node ports, too.
func (c *Compiler) ByFrontend(addr netip.Addr, protocol uint8, port uint16) (Info, bool) {
	addr = addr.Unmap()
	if info, ok := c.bySpot(spot{addr, addr.Is6(), protocolName(protocol), port}); ok {
		return info, true
	}
	if !slices.Contains(c.nodeAddrs, addr) {
		return Info{}, false
	}
	return c.ByNodePort(addr.Is6(), protocol, port)
}

// ByNodePort finds whose node port a protocol and port are in one family, as of
// the last Flush.
func (c *Compiler) ByNodePort(is6 bool, protocol uint8, port uint16) (Info, bool) {
	return c.bySpot(spot{netip.Addr{}, is6, protocolName(protocol), port})
}

// ByKey returns the Service and port that a balancer is, as of the last Flush. Its
// Kind is ClusterIP.
func (c *Compiler) ByKey(key flows.BalancerKey) (Info, bool) {
	b := c.byKey[key]
	if b == nil {
		return Info{}, false
	}
	return b.info(ClusterIP), true
}

func (c *Compiler) bySpot(s spot) (Info, bool) {
	all := c.claims[s]
	if len(all) == 0 {
		return Info{}, false
	}
	return all[0].info(all[0].kind), true
}

func (b *balancer) info(kind Kind) Info {
	return Info{Service: b.of.key, PortName: b.port.Name, Port: b.port.Port, Kind: kind, Key: b.key, Topology: b.topology}
}

func protocolName(number uint8) string {
	for name, n := range protocols {
		if n == number {
			return name
		}
	}
	return ""
}

// Status is a Service with what it has come to on this node.
type Status struct {
	Service *cluster.Service
	// Balancers are its balancers by port, then by family.
	Balancers []BalancerStatus
	// Problems are the parts that are not in force.
	Problems []Problem
}

// BalancerStatus is a balancer with what it is.
type BalancerStatus struct {
	Info
	// Balancer is nil if others have all its frontends.
	Balancer *flows.Balancer
}

// Services returns the Services that have ports to balance, by key, as of the
// last Flush. Nothing of what is returned may be changed.
func (c *Compiler) Services() []Status {
	var out []Status
	for _, s := range c.services {
		if s.spec == nil || len(s.balancers) == 0 {
			continue
		}
		status := Status{Service: s.spec, Problems: s.told}
		for _, b := range s.balancers {
			status.Balancers = append(status.Balancers, BalancerStatus{b.info(ClusterIP), b.told})
		}
		out = append(out, status)
	}
	slices.SortFunc(out, func(a, b Status) int { return compareKeys(a.Service.Key, b.Service.Key) })
	return out
}
