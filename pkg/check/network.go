package check

import (
	"context"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/route"
)

const restart = "the agent puts it right within a minute, or when it starts; if it comes back, something else changes it"

func (c *Checker) gateway(context.Context) result {
	s, none := c.setup()
	if none != nil {
		return *none
	}
	found, err := s.Gateway.Check()
	if err != nil {
		return fail("see the check bridge", "%v", err)
	}
	if mac, err := route.HardwareAddr(s.Gateway.Name); err == nil && mac.String() != s.Bridge.GatewayMAC.String() {
		found = append(found, "gateway "+s.Gateway.Name+": Ethernet address is "+mac.String()+", should be "+s.Bridge.GatewayMAC.String())
	}
	if len(found) > 0 {
		return fault(restart, found)
	}
	return ok("gateway %s is up, MTU %d, with %v", s.Gateway.Name, s.Gateway.MTU, s.Gateway.Addrs)
}

// families reports whether a node has pods of IPv4 and of IPv6.
func (s *Setup) families() (v4, v6 bool) {
	return slices.ContainsFunc(s.PodCIDRs, func(p netip.Prefix) bool { return p.Addr().Is4() }),
		slices.ContainsFunc(s.PodCIDRs, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

func (c *Checker) sysctls(context.Context) result {
	s, none := c.setup()
	if none != nil {
		return *none
	}
	v4, v6 := s.families()
	if found := s.Gateway.CheckSysctls(v4, v6); len(found) > 0 {
		return fault(restart, found)
	}
	r := ok("forwarding is on, and %s has what it needs", s.Gateway.Name)
	if up := s.Plan.Uplink.Name; up != "" && v4 && !route.SourceChecked(up) {
		r.details = []string{"sysctl net/ipv4/conf/" + up + "/rp_filter is not 1: hosts outside may use pods' addresses as their source (docs/security.md)"}
	}
	return r
}

// routes compares routes, and looks whether the kernel knows a way to each node
// that answers.
func (c *Checker) routes(context.Context) result {
	s, none := c.setup()
	if none != nil {
		return *none
	}
	found, err := route.CheckRoutes(s.Plan.Routes)
	if err != nil {
		return fail("", "%v", err)
	}
	if s.Unreached != nil {
		found = append(found, s.Unreached.Error())
	}
	names := map[string]bool{}
	seen := map[netip.Addr]bool{}
	for _, w := range s.Plan.Ways {
		names[w.Node] = true
		if !w.Via.IsValid() || seen[w.Via] {
			continue
		}
		seen[w.Via] = true
		if err := route.CheckHop(w.Via); err != nil {
			found = append(found, "node "+w.Node+": "+err.Error())
		}
	}
	for _, p := range s.Plan.Problems {
		if p.Node != c.cfg.Agent.NodeName {
			found = append(found, p.String())
		}
	}
	if len(found) > 0 {
		return fault("ip route, ip neigh: is the node up, is the underlay between? sluice get nodes lists the ways", found)
	}
	if len(names) == 0 {
		return ok("there is no other node with pods")
	}
	return ok("%d routes to %d other nodes", len(s.Plan.Routes), len(names))
}

func (c *Checker) nftables(ctx context.Context) result {
	s, none := c.setup()
	if none != nil {
		return *none
	}
	m, err := route.OpenMasquerade(s.Gateway.Name)
	if err != nil {
		return fail("install nftables, on Linux 5.7 or later", "%v", err)
	}
	found, err := m.Check(ctx, s.PodCIDRs, s.Plan.PodCIDRs)
	if err != nil {
		return fail("nft list table inet "+route.Table, "nftables: %v", err)
	}
	services := ""
	if c.cfg.Agent.Services == "sluice" {
		services = ", table inet " + route.ServiceTable + " leads to Services"
		table, err := route.OpenServices(s.Gateway.Name, flows.RemoteMAC)
		if err == nil {
			err = table.Check(ctx)
		}
		if err != nil {
			found = append(found, err.Error())
		}
	}
	if len(found) > 0 {
		return fault(restart, found)
	}
	return ok("table inet %s masquerades what pods send out of the cluster%s", route.Table, services)
}

// mtu looks whether packets of pods fit through the uplink as it is now.
func (c *Checker) mtu(context.Context) result {
	s, none := c.setup()
	if none != nil {
		return *none
	}
	for _, p := range s.Plan.Problems {
		if p.Node == c.cfg.Agent.NodeName {
			return warn("set mtu, nodeName or the Node object's addresses right", "%s", p.String())
		}
	}
	if s.Plan.Uplink.Name == "" {
		return warn("set mtu in the agent's configuration", "pods have an MTU of %d, and no uplink was found to hold it against", s.Plan.MTU)
	}
	interfaces, err := route.Interfaces(s.Gateway.Name)
	if err != nil {
		return fail("", "%v", err)
	}
	for _, i := range interfaces {
		if i.Name == s.Plan.Uplink.Name && i.MTU != s.Plan.Uplink.MTU {
			return fail(restart, "uplink %s: MTU is %d, and the agent knows of %d", i.Name, i.MTU, s.Plan.Uplink.MTU)
		}
	}
	overhead := "as they are"
	if c.cfg.Agent.Mode != nodes.NoEncap {
		overhead = "through " + c.cfg.Agent.Tunnel
	}
	return ok("pods' %d bytes fit %s through %s, MTU %d", s.Plan.MTU, overhead, s.Plan.Uplink.Name, s.Plan.Uplink.MTU)
}
