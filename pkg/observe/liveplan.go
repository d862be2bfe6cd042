package observe

import (
	"context"
	"net/netip"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// LivePlan says at which nodes packets come by that somebody wants to follow.
func (o *Observer) LivePlan(ctx context.Context, req api.LiveRequest) (*api.LivePlan, error) {
	out := &api.LivePlan{Node: o.cfg.Node}
	var planErr error
	err := o.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		var l live
		if l, planErr = readLive(v, &req); planErr != nil {
			return
		}
		out.Service = len(l.balancer) > 0
		if len(l.from.addrs) > 0 {
			out.From = o.nodeOf(&l.from, l.from.addrs[0])
		}
		if l.to != nil {
			out.To = o.nodeOf(l.to, l.to.addrs[0])
		}
		out.Onward, planErr = o.onward(v, req, &l)
	})
	if err = firstError(err, planErr); err != nil {
		return nil, err
	}
	return out, nil
}

// Departs says where a real packet goes on that leaves the bridge by a port for an
// address, nil if it is for no other node.
func Departs(v enforce.View, plan *nodes.Plan, ofport uint32, to netip.Addr) *api.LiveNext {
	node, err := v.Node()
	if err != nil || plan == nil {
		return nil
	}
	w, ok := wayOf(plan, to)
	if !ok {
		return nil
	}
	n := &api.LiveNext{Node: w.Node, Via: text(w.Via)}
	var out uint32
	if n.By, out = leavesBy(w, node); out != ofport {
		return nil
	}
	if n.By == api.ByTunnel {
		n.TunnelSource = text(node.TunnelSource(w.Via))
	}
	return n
}

// ServiceOf says which Service a real packet was sent to and who was chosen to serve
// it, by the number of the endpoint and the frontend that the bridge knew it by; nil
// if it was for none.
func ServiceOf(v enforce.View, protocol string, frontend netip.AddrPort, endpoint uint32) *api.Balanced {
	number, ok := protocolNumbers[protocol]
	if !ok || v.Services() == nil {
		return nil
	}
	key, ok := v.Pipeline().BalancerAt(number, frontend)
	if !ok {
		return nil
	}
	info, ok := frontendOf(v.Services(), key, frontend, number)
	if !ok {
		return nil
	}
	b := &api.Balanced{
		Service: info.Service.String(), PortName: info.PortName, Port: info.Port, Kind: info.Kind.String(), Frontend: frontend.String(),
	}
	if balancer, ok := v.Pipeline().Balancer(key); ok {
		b.Choices = len(balancer.Endpoints[flows.ScopeCluster])
		if balancer.Affinity > 0 {
			b.Affinity = balancer.Affinity.String()
		}
	}
	if e, ok := v.Pipeline().EndpointByID(endpoint); ok && endpoint != 0 {
		b.Endpoint = e.String()
		if pod, ok := v.Compiler().PodByAddr(e.Addr()); ok {
			b.Pod = pod.String()
		}
	}
	return b
}

// PortName is what a trace calls a port that a packet leaves by.
func PortName(v enforce.View, ofport uint32) string { return portName(v, ofport) }
