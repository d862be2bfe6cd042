package observe

import (
	"context"

	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Nodes lists the ranges of other nodes' pods by the name of the node.
func (o *Observer) Nodes(context.Context) ([]api.Node, error) {
	out := []api.Node{}
	_, _, plan := o.network()
	if plan == nil {
		return out, nil
	}
	for _, w := range plan.Ways {
		n := api.Node{Name: w.Node, PodCIDR: w.CIDR.String(), Way: string(w.Kind)}
		if w.Via.IsValid() {
			n.Via = w.Via.String()
		}
		out = append(out, n)
	}
	return out, nil
}

func (o *Observer) network() (mode nodes.Mode, tunnel string, p *nodes.Plan) {
	if o.cfg.Network == nil {
		return "", "", nil
	}
	return o.cfg.Network()
}

// networkStatus is how others are reached, nil if that is not known.
func (o *Observer) networkStatus() *api.Network {
	mode, tunnel, p := o.network()
	if p == nil {
		return nil
	}
	out := &api.Network{Mode: string(mode), Uplink: p.Uplink.Name, UplinkMTU: p.Uplink.MTU, MTU: p.MTU}
	if mode != nodes.NoEncap {
		out.Tunnel = tunnel
	}
	for _, problem := range p.Problems {
		out.Problems = append(out.Problems, problem.String())
	}
	return out
}
