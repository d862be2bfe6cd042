package observe

import (
	"context"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// nodeOf names the node in whose pod ranges an end's address lies, empty if it is
// none's.
func (o *Observer) nodeOf(e *end, a netip.Addr) string {
	if e.local {
		return o.cfg.Node
	}
	w, _ := o.way(a)
	return w.Node
}

// way is how other nodes' pods are reached that have an address.
func (o *Observer) way(a netip.Addr) (nodes.Way, bool) {
	_, _, plan := o.network()
	if plan == nil {
		return nodes.Way{}, false
	}
	return wayOf(plan, a)
}

func wayOf(plan *nodes.Plan, a netip.Addr) (nodes.Way, bool) {
	for _, w := range plan.Ways {
		if w.CIDR.Contains(a) {
			return w, true
		}
	}
	return nodes.Way{}, false
}

// arrive has a packet that no pod of this node sends come in where it would: out of
// the tunnel, or from the node's network stack. Without an arrival it is taken to
// come as this node itself reaches its source.
func (o *Observer) arrive(ctx context.Context, node flows.Node, a *api.Arrival, to end, p *trace.Packet) error {
	var known netip.Addr
	if err := o.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		if _, r, ok := v.Pipeline().RemoteByAddr(p.Src); ok {
			known = r.Tunnel
		}
	}); err != nil {
		return err
	}
	if a != nil {
		if p.DstPort != 0 && a.SourcePort != 0 {
			p.SrcPort = a.SourcePort
		}
		switch a.By {
		case api.ByRoute:
			known = netip.Addr{}
		case api.ByTunnel:
			if node.TunnelOFPort == 0 {
				return bad("arrival.by: the bridge of this node has no tunnel")
			}
			if a.TunnelSource != "" {
				var err error
				if known, err = netip.ParseAddr(a.TunnelSource); err != nil {
					return bad("arrival.tunnelSource: %v", err)
				}
			}
			if !known.IsValid() {
				return bad("arrival.tunnelSource: it is not said, and this node knows no tunnel from %s", p.Src)
			}
		default:
			return bad("arrival.by: %q is neither %s nor %s", a.By, api.ByTunnel, api.ByRoute)
		}
	}
	switch {
	case known.IsValid():
		p.InPort, p.SrcMAC, p.DstMAC = node.TunnelOFPort, flows.RemoteMAC, flows.RemoteMAC
		p.Extra = "tun_src=" + known.String()
		if known.Is6() {
			p.Extra = "tun_ipv6_src=" + known.String()
		}
	case to.local:
		p.DstMAC = to.mac
	}
	return nil
}

// next says where a packet goes on that leaves for a pod of another node, nil if it
// does not. What the other node is asked is the packet as it leaves this one.
func (o *Observer) next(node flows.Node, req api.TraceRequest, t *trace.Trace) *api.Next {
	if len(t.Outputs) == 0 {
		return nil
	}
	last := fieldsOf(t.FinalFlow)
	src := netip.AddrPortFrom(last.addr("nw_src", "ipv6_src"), last.port("tp_src"))
	dst := netip.AddrPortFrom(last.addr("nw_dst", "ipv6_dst"), last.port("tp_dst"))
	for _, s := range t.Steps {
		src, dst = translated(s, "src", src), translated(s, "dst", dst)
	}
	w, ok := o.way(dst.Addr())
	if !ok {
		return nil
	}
	by, out := leavesBy(w, node)
	if t.Outputs[0] != out {
		return nil
	}
	n := &api.Next{Node: w.Node, By: by, Ask: api.TraceRequest{
		From: src.Addr().String(), To: dst.Addr().String(), Protocol: req.Protocol, Port: dst.Port(),
		Arrival: &api.Arrival{Node: o.cfg.Node, By: by, SourcePort: src.Port()},
	}}
	if w.Via.IsValid() {
		n.Via = w.Via.String()
	}
	if by == api.ByTunnel {
		n.Ask.Arrival.TunnelSource = tunnelSource(t)
	}
	return n
}

// tunnelSource is the source that the packet's tunnel is given, empty if the host's
// routes choose.
func tunnelSource(t *trace.Trace) (out string) {
	for _, s := range t.Steps {
		for _, action := range s.Actions {
			value, field, _ := strings.Cut(strings.TrimPrefix(action, "set_field:"), "->")
			if field == "tun_src" || field == "tun_ipv6_src" {
				out = value
			}
		}
	}
	return out
}

var translation = regexp.MustCompile(`\bnat\((src|dst)=([^)]+)\)`)

// translated returns what the commit of a connection, if a step is one, makes of one
// end. The commit is the datapath's: it shows in the packet only after the trace.
func translated(s trace.Step, which string, end netip.AddrPort) netip.AddrPort {
	for _, action := range s.Actions {
		m := translation.FindStringSubmatch(action)
		if m == nil || m[1] != which || !strings.HasPrefix(action, "ct(commit") {
			continue
		}
		if to, err := netip.ParseAddrPort(m[2]); err == nil {
			return to
		}
		if to, err := netip.ParseAddr(strings.Trim(m[2], "[]")); err == nil {
			return netip.AddrPortFrom(to, end.Port())
		}
	}
	return end
}

// packetFields are the fields of a packet in the syntax of ovs-ofctl(8).
type packetFields map[string]string

func fieldsOf(flow string) packetFields {
	out := packetFields{}
	for part := range strings.SplitSeq(flow, ",") {
		name, value, _ := strings.Cut(part, "=")
		out[name] = value
	}
	return out
}

// addr returns the first of some fields that holds an address but the unspecified one.
func (f packetFields) addr(names ...string) netip.Addr {
	for _, name := range names {
		if a, err := netip.ParseAddr(f[name]); err == nil && !a.IsUnspecified() {
			return a
		}
	}
	return netip.Addr{}
}

// port returns a port, zero if the packet has none.
func (f packetFields) port(name string) uint16 {
	n, _ := strconv.ParseUint(f[name], 10, 16)
	return uint16(n)
}
