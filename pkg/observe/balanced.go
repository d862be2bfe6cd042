package observe

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/service"
)

// findService reads a Service as the end of a connection ("svc:shop/web:http"),
// and completes the request by its protocol and port.
func findService(v enforce.View, req *api.TraceRequest) (end, error) {
	found, err := balancersOf(v, req)
	e := end{}
	for _, b := range found {
		// The first of its frontends is the cluster's.
		e.addrs = append(e.addrs, b.Balancer.Frontends[0].Addr)
	}
	return e, err
}

// balancersOf finds the balancers of the Service port that a request names, one of
// each family, and completes the request by its protocol and port.
func balancersOf(v enforce.View, req *api.TraceRequest) ([]service.BalancerStatus, error) {
	text := strings.TrimPrefix(req.To, api.ServicePrefix)
	name, port, _ := strings.Cut(text, ":")
	if namespace, short, ok := strings.Cut(name, "/"); !ok || namespace == "" || short == "" {
		return nil, bad("to: %q is not svc:NAMESPACE/NAME:PORT", req.To)
	}
	if v.Services() == nil {
		return nil, bad("to: Services are not balanced by this node's bridge")
	}
	var found []service.BalancerStatus
	for _, s := range v.Services().Services() {
		if s.Service.Key.String() != name {
			continue
		}
		for _, b := range s.Balancers {
			if b.Balancer != nil && fits(b, port, req) {
				found = append(found, b)
			}
		}
	}
	if len(found) == 0 {
		return nil, bad("to: no Service %s with such a port is balanced here", text)
	}
	first := found[0]
	for _, b := range found {
		if b.Port != first.Port || b.Balancer.Protocol != first.Balancer.Protocol {
			return nil, bad("to: Service %s has several ports: say which", name)
		}
	}
	req.Port, req.Protocol = first.Port, protocolText(first.Balancer.Protocol)
	return found, nil
}

// fits reports whether a balancer is the port that a request asks for, if it says.
func fits(b service.BalancerStatus, port string, req *api.TraceRequest) bool {
	if len(b.Balancer.Frontends) == 0 || !b.Balancer.Frontends[0].Addr.IsValid() {
		return false
	}
	if port != "" && port != b.PortName && port != strconv.Itoa(int(b.Port)) {
		return false
	}
	if req.Port != 0 && req.Port != b.Port {
		return false
	}
	return req.Protocol == "" || strings.EqualFold(req.Protocol, protocolText(b.Balancer.Protocol))
}

func protocolText(number uint8) string {
	for text, n := range protocolNumbers {
		if n == number {
			return text
		}
	}
	return ""
}

// balancedOf reads from a trace which Service the packet was for and who was chosen
// to serve it; chosen is not valid if nobody is. It returns nil for any other
// packet.
func balancedOf(v enforce.View, t *trace.Trace, p trace.Packet) (b *api.Balanced, chosen netip.Addr) {
	var endpoint netip.AddrPort
	for _, s := range t.Steps {
		c := flows.Cookie(s.Cookie)
		switch flows.Table(s.Table) {
		case flows.TableServiceLB:
			key, scope, ok := v.Pipeline().BalancerByCookie(c)
			if !ok || v.Services() == nil {
				continue
			}
			info, ok := frontendOf(v.Services(), key, netip.AddrPortFrom(p.Dst, p.DstPort), p.Protocol)
			if !ok {
				continue
			}
			b = &api.Balanced{
				Service: info.Service.String(), PortName: info.PortName, Port: info.Port, Kind: info.Kind.String(),
				Frontend: netip.AddrPortFrom(p.Dst, p.DstPort).String(),
			}
			if balancer, ok := v.Pipeline().Balancer(key); ok && c.Kind() == flows.KindBalancer {
				b.Choices = len(balancer.Endpoints[scope])
				if balancer.Affinity > 0 {
					b.Affinity = balancer.Affinity.String()
				}
			}
		case flows.TableServiceAffinity:
			if b != nil && c.Kind() == flows.KindAffinity {
				b.Remembered = true
			}
		}
		if e := destinationOf(s); e.IsValid() && b != nil {
			endpoint = e
		}
	}
	if b == nil || !endpoint.IsValid() {
		return b, netip.Addr{}
	}
	b.Endpoint = endpoint.String()
	if pod, ok := v.Compiler().PodByAddr(endpoint.Addr()); ok {
		b.Pod = pod.String()
	}
	return b, endpoint.Addr()
}

// frontendOf says what a packet's destination is to the Service whose balancer the
// bridge found.
func frontendOf(c *service.Compiler, key flows.BalancerKey, at netip.AddrPort, protocol uint8) (service.Info, bool) {
	if info, ok := c.ByFrontend(at.Addr(), protocol, at.Port()); ok && info.Key == key {
		return info, true
	}
	if info, ok := c.ByNodePort(at.Addr().Is6(), protocol, at.Port()); ok && info.Key == key {
		return info, true
	}
	return c.ByKey(key)
}

// destinationOf returns the endpoint that a step of the Service tables writes as
// the packet's destination.
func destinationOf(s trace.Step) netip.AddrPort {
	if t := flows.Table(s.Table); t != flows.TableServiceLB && t != flows.TableServiceEndpoint {
		return netip.AddrPort{}
	}
	var addr netip.Addr
	var port uint64
	for _, a := range s.Actions {
		text, _ := strings.CutPrefix(a, "set_field:")
		value, field, _ := strings.Cut(text, "->")
		switch field {
		case "ip_dst", "ipv6_dst":
			addr, _ = netip.ParseAddr(value)
		case "tcp_dst", "udp_dst", "sctp_dst":
			port, _ = strconv.ParseUint(value, 10, 16)
		}
	}
	if !addr.IsValid() || port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, uint16(port))
}
