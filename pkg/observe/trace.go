package observe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// BadRequest is an error that lies in the question.
type BadRequest struct{ Message string }

// Error implements error.
func (e *BadRequest) Error() string { return e.Message }

func bad(format string, args ...any) error { return &BadRequest{fmt.Sprintf(format, args...)} }

// tracePort is the source port of traced packets: any outside the well-known
// ones does.
const tracePort = 40000

// end is one end of a connection with all that a trace needs of it.
type end struct {
	api.Endpoint
	pod   cluster.Key
	local bool
	addrs []netip.Addr
	mac   net.HardwareAddr
}

// Trace asks the bridge for the way of a connection's first packet, and says
// which rule and policy stand behind each verdict.
func (o *Observer) Trace(ctx context.Context, req api.TraceRequest) (*api.Explanation, error) {
	var from, to end
	var node flows.Node
	var lookErr error
	err := o.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		if node, lookErr = v.Node(); lookErr != nil {
			return
		}
		if from, lookErr = find(v, "from", req.From); lookErr != nil {
			return
		}
		if strings.HasPrefix(req.To, api.ServicePrefix) {
			to, lookErr = findService(v, &req)
		} else {
			to, lookErr = find(v, "to", req.To)
		}
	})
	if err = firstError(err, lookErr); err != nil {
		return nil, err
	}
	protocol, err := protocolNumber(req)
	if err != nil {
		return nil, err
	}
	src, dst, err := pair(&from, &to, req.Family)
	if err != nil {
		return nil, err
	}
	if from.Node, to.Node = o.nodeOf(&from, src), o.nodeOf(&to, dst); req.Arrival != nil {
		from.local = false // it is not from its own port that the packet comes
	}
	if protocol == 1 && src.Is6() {
		protocol = 58
	}
	p := trace.Packet{
		InPort: node.GatewayOFPort, SrcMAC: node.GatewayMAC, DstMAC: node.GatewayMAC,
		Src: src, Dst: dst, Protocol: protocol,
	}
	if protocol == flows.TCP {
		p.TCPFlags = trace.SYN
	}
	if req.Port != 0 {
		p.SrcPort, p.DstPort = tracePort, req.Port
	}
	if from.local {
		p.InPort, p.SrcMAC = from.OFPort, from.mac
	} else if err := o.arrive(ctx, node, req.Arrival, to, &p); err != nil {
		return nil, err
	}
	vswitchd, err := o.cfg.Vswitchd()
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	t, err := o.run(ctx, vswitchd, p)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	// On the userspace datapath what leaves by the tunnel is followed into the bridge
	// of the underlay, whose tables are none of ours.
	t.Steps = slices.DeleteFunc(t.Steps, func(s trace.Step) bool { return s.Bridge != "" && s.Bridge != o.cfg.Bridge })
	x := &api.Explanation{
		Node: o.cfg.Node, From: from.Endpoint, To: to.Endpoint, Protocol: req.Protocol, Port: req.Port, Megaflow: t.Megaflow,
	}
	err = o.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		var chosen netip.Addr
		if x.Service, chosen = balancedOf(v, t, p); x.Service != nil {
			x.To.Service = x.Service.Name()
		}
		if chosen.IsValid() {
			// Policies judge the endpoint, as the bridge does.
			if to, lookErr = find(v, "endpoint", chosen.String()); lookErr != nil {
				return
			}
			to.Addr = chosen.String()
		}
		explain(x, v, t, from, to)
	})
	if x.Verdict == api.Allowed {
		x.Next = o.next(node, req, t)
	}
	return x, firstError(err, lookErr)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

var protocolNumbers = map[string]uint8{"tcp": flows.TCP, "udp": flows.UDP, "sctp": flows.SCTP, "icmp": 1}

func protocolNumber(req api.TraceRequest) (uint8, error) {
	n, ok := protocolNumbers[strings.ToLower(req.Protocol)]
	switch {
	case !ok:
		return 0, bad("protocol: %q is not tcp, udp, sctp or icmp", req.Protocol)
	case n == 1 && req.Port != 0:
		return 0, bad("port: icmp has none")
	case n != 1 && req.Port == 0:
		return 0, bad("port: %s needs one", req.Protocol)
	}
	return n, nil
}

// find reads one end: a pod of this node, a pod elsewhere by its addresses, or
// an address.
func find(v enforce.View, field, s string) (end, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		e := end{addrs: []netip.Addr{a}}
		if pod, ok := v.Compiler().PodByAddr(a); ok {
			e.pod, e.Pod = pod, pod.String()
		}
		if p, ok := v.Pipeline().PortByAddr(a); ok {
			e.local, e.mac, e.Port, e.OFPort = true, p.MAC, p.Name, p.OFPort
		}
		return e, nil
	}
	ns, name, ok := strings.Cut(s, "/")
	if !ok || ns == "" || name == "" {
		return end{}, bad("%s: %q is neither namespace/pod nor an address", field, s)
	}
	e := end{pod: cluster.Key{Namespace: ns, Name: name}}
	e.Pod = e.pod.String()
	if p, ok := v.PortOf(e.pod); ok {
		e.local, e.mac, e.Port, e.OFPort, e.addrs = true, p.MAC, p.Name, p.OFPort, p.Addrs
		return e, nil
	}
	if e.addrs = v.Compiler().AddrsOf(e.pod); len(e.addrs) == 0 {
		return end{}, bad("%s: no pod %s with an address is known", field, s)
	}
	return e, nil
}

// pair chooses the addresses of both ends: the first family they share.
func pair(from, to *end, family int) (src, dst netip.Addr, err error) {
	if family != 0 && family != 4 && family != 6 {
		return src, dst, bad("family: %d is not 4 or 6", family)
	}
	for _, a := range from.addrs {
		for _, b := range to.addrs {
			if a.Is4() == b.Is4() && (family == 0 || a.Is4() == (family == 4)) {
				from.Addr, to.Addr = a.String(), b.String()
				return a, b, nil
			}
		}
	}
	which := "one address family"
	if family != 0 {
		which = fmt.Sprintf("IPv%d", family)
	}
	return src, dst, bad("from %s to %s: the two do not have %s in common", orAddr(*from), orAddr(*to), which)
}

func orAddr(e end) string {
	if e.Pod != "" {
		return e.Pod
	}
	return e.addrs[0].String()
}
