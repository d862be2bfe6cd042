package observe

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/service"
)

// LiveMatches are the packets that a request to follow some means on this node. The
// error is a BadRequest.
func LiveMatches(v enforce.View, req api.LiveRequest) ([]flows.LiveMatch, error) {
	if len(req.Arrivals) > 0 {
		return liveArrivals(v, req)
	}
	l, err := readLive(v, &req)
	if err != nil {
		return nil, err
	}
	var inPort uint32
	if l.from.local && l.from.Pod == req.From {
		inPort = l.from.OFPort // what a pod sends under whatever address
	}
	var out []flows.LiveMatch
	for _, src := range l.sources() {
		for _, dst := range l.targets {
			if a := dst.Addr(); !src.IsValid() || !a.IsValid() || src.Is4() == a.Is4() {
				out = append(out, flows.LiveMatch{InPort: inPort, Src: src, Dst: a, Protocol: l.protocol, Port: dst.Port()})
			}
		}
	}
	if len(out) == 0 {
		return nil, bad("from %s to %s: the two have no address family in common", req.From, req.To)
	}
	return out, nil
}

// live is a request to follow packets, read.
type live struct {
	from     end  // without addresses for anybody
	to       *end // nil for anybody, and for a Service
	balancer []service.BalancerStatus
	protocol uint8 // zero for any
	// targets are where the packets are sent to; an address that is not valid is any.
	targets []netip.AddrPort
}

// sources are the addresses that the packets are sent from, one that is not valid
// for any.
func (l *live) sources() []netip.Addr {
	if len(l.from.addrs) == 0 {
		return []netip.Addr{{}}
	}
	return l.from.addrs
}

// readLive reads a request, and completes it by the protocol and port of a Service.
func readLive(v enforce.View, req *api.LiveRequest) (l live, err error) {
	if req.From == "" && req.To == "" {
		return l, bad("from: one end must be said")
	}
	if req.From != "" {
		if l.from, err = find(v, "from", req.From); err != nil {
			return l, err
		}
	}
	if strings.HasPrefix(req.To, api.ServicePrefix) {
		t := api.TraceRequest{To: req.To, Protocol: req.Protocol, Port: req.Port}
		if l.balancer, err = balancersOf(v, &t); err != nil {
			return l, err
		}
		req.Protocol, req.Port = t.Protocol, t.Port
	}
	if l.protocol, err = liveProtocol(req.Protocol, req.Port); err != nil {
		return l, err
	}
	switch node, err := v.Node(); {
	case err != nil:
		return l, err
	case req.To == "":
		l.targets = []netip.AddrPort{netip.AddrPortFrom(netip.Addr{}, req.Port)}
	case len(l.balancer) == 0:
		to, err := find(v, "to", req.To)
		if err != nil {
			return l, err
		}
		l.to = &to
		for _, a := range to.addrs {
			l.targets = append(l.targets, netip.AddrPortFrom(a, req.Port))
		}
	default:
		for _, b := range l.balancer {
			for _, f := range b.Balancer.Frontends {
				for _, a := range node.AddrsOf(f, b.Balancer.Frontends[0].Addr) {
					l.targets = append(l.targets, netip.AddrPortFrom(a, f.Port))
				}
			}
		}
	}
	return l, nil
}

func liveProtocol(text string, port uint16) (uint8, error) {
	protocol, ok := protocolNumbers[strings.ToLower(text)]
	switch {
	case text != "" && !ok:
		return 0, bad("protocol: %q is not tcp, udp, sctp or icmp", text)
	case port != 0 && (protocol == 0 || protocol == 1):
		return 0, bad("port: only tcp, udp and sctp have ports")
	}
	return protocol, nil
}

// liveArrivals reads the packets that come from another node.
func liveArrivals(v enforce.View, req api.LiveRequest) (out []flows.LiveMatch, err error) {
	node, err := v.Node()
	if err != nil {
		return nil, err
	}
	for _, a := range req.Arrivals {
		m := flows.LiveMatch{InPort: node.GatewayOFPort, Port: a.Port}
		if m.Protocol, err = liveProtocol(req.Protocol, a.Port); err != nil {
			return nil, err
		}
		switch a.By {
		case api.ByRoute:
		case api.ByTunnel:
			if m.InPort = node.TunnelOFPort; m.InPort == 0 {
				return nil, bad("arrivals.by: the bridge of this node has no tunnel")
			}
		default:
			return nil, bad("arrivals.by: %q is neither %s nor %s", a.By, api.ByTunnel, api.ByRoute)
		}
		for field, text := range map[string]string{"from": a.From, "to": a.To} {
			addr, err := netip.ParseAddr(text)
			switch {
			case text == "":
			case err != nil:
				return nil, bad("arrivals.%s: %v", field, err)
			case field == "from":
				m.Src = addr.Unmap()
			default:
				m.Dst = addr.Unmap()
			}
		}
		if !m.Src.IsValid() && !m.Dst.IsValid() {
			return nil, bad("arrivals: one end must be said")
		}
		out = append(out, m)
	}
	return out, nil
}

// maxArrivals bounds the flows that tell arrivals from one node at another apart.
// Beyond it they are not told apart by where they go.
const maxArrivals = 256

// onward are the nodes that packets of a request may go on to from here, with what
// to follow there: whatever of the connections' endpoints is behind them, from the
// packets' sources, and from this node's addresses, which the packets may get on
// their way.
func (o *Observer) onward(v enforce.View, req api.LiveRequest, l *live) ([]api.LiveOnward, error) {
	node, err := v.Node()
	if err != nil {
		return nil, err
	}
	sources := l.sources()
	if sources[0].IsValid() {
		for _, a := range slices.Concat(node.Addrs, node.ServiceSources, node.TunnelSources) {
			if !slices.Contains(sources, a) {
				sources = append(sources, a)
			}
		}
	}
	ends := map[string][]netip.AddrPort{}
	by := map[netip.Addr]string{}
	for _, to := range l.endpoints(v) {
		w, ok := o.way(to.Addr())
		if !ok || slices.Contains(ends[w.Node], to) {
			continue
		}
		ends[w.Node] = append(ends[w.Node], to)
		by[to.Addr()], _ = leavesBy(w, node)
	}
	var out []api.LiveOnward
	for name, targets := range ends {
		ask := api.LiveRequest{Protocol: req.Protocol, Seconds: req.Seconds}
		for _, to := range targets {
			for _, src := range sources {
				if !src.IsValid() || src.Is4() == to.Addr().Is4() {
					ask.Arrivals = append(ask.Arrivals, api.LiveArrival{By: by[to.Addr()], From: text(src), To: to.Addr().String(), Port: to.Port()})
				}
			}
		}
		if len(ask.Arrivals) > maxArrivals && sources[0].IsValid() {
			for i := range ask.Arrivals {
				ask.Arrivals[i].To, ask.Arrivals[i].Port = "", 0
			}
			slices.SortFunc(ask.Arrivals, func(a, b api.LiveArrival) int { return compare(a.By, b.By, a.From, b.From) })
			ask.Arrivals = slices.Compact(ask.Arrivals)
		}
		out = append(out, api.LiveOnward{Node: name, Ask: ask})
	}
	slices.SortFunc(out, func(a, b api.LiveOnward) int { return compare(a.Node, b.Node) })
	return out, nil
}

// endpoints are where packets may be on their way to when they leave the node: the
// targets, and who serves those that are frontends.
func (l *live) endpoints(v enforce.View) (out []netip.AddrPort) {
	serve := func(k flows.BalancerKey) {
		if b, ok := v.Pipeline().Balancer(k); ok {
			out = append(append(out, b.Endpoints[flows.ScopeCluster]...), b.Endpoints[flows.ScopeLocal]...)
		}
	}
	for _, b := range l.balancer {
		serve(b.Key)
	}
	if l.to == nil {
		return out
	}
	for _, to := range l.targets {
		out = append(out, to)
		for _, protocol := range []uint8{flows.TCP, flows.UDP, flows.SCTP} {
			if k, ok := v.Pipeline().BalancerAt(protocol, to); ok && (l.protocol == protocol || l.protocol == 0) {
				serve(k)
			}
		}
	}
	return out
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// leavesBy says how packets leave for another node, and by which port.
func leavesBy(w nodes.Way, node flows.Node) (by string, ofport uint32) {
	if w.Kind == nodes.NoEncap {
		return api.ByRoute, node.GatewayOFPort
	}
	return api.ByTunnel, node.TunnelOFPort
}
