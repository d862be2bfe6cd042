package observe

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/traffic"
)

// collect reads the counters for an answer that tells of them. If that fails, it
// tells what was last read.
func (o *Observer) collect(ctx context.Context) {
	if o.cfg.Stats == nil {
		return
	}
	if err := o.cfg.Stats.Collect(ctx); err != nil {
		klog.FromContext(ctx).V(2).Info("Statistics are those of before", "err", err)
	}
}

// ruleStats returns a rule's statistics, nil if there are none.
func (o *Observer) ruleStats(r *api.Rule) *api.RuleStats {
	if o.cfg.Stats == nil {
		return nil
	}
	n, ok := o.cfg.Stats.Rule(flows.RuleKey(r.Key))
	if !ok {
		return nil
	}
	out := &api.RuleStats{Attempts: n.Attempts, Since: n.Since}
	if o.cfg.Traffic != nil && o.cfg.Traffic.Err() == nil {
		d := flows.Egress
		if r.Direction == flows.Ingress.String() {
			d = flows.Ingress
		}
		t := api.Traffic(o.cfg.Traffic.Rule(traffic.Rule{Direction: d, ID: r.ID}))
		out.Traffic = &t
	}
	return out
}

func (o *Observer) policyStats(k cluster.Key, rules []api.Rule) *api.PolicyStats {
	if o.cfg.Stats == nil {
		return nil
	}
	n, ok := o.cfg.Stats.Policy(k)
	if !ok {
		return nil
	}
	out := &api.PolicyStats{Allowed: attempts(n.Allowed), Denied: attempts(n.Denied), Since: n.Since}
	for _, r := range rules {
		if r.Stats == nil || r.Stats.Traffic == nil {
			continue
		}
		if out.Traffic == nil {
			out.Traffic = &api.Traffic{}
		}
		out.Traffic.Connections += r.Stats.Traffic.Connections
		out.Traffic.Packets += r.Stats.Traffic.Packets
		out.Traffic.Bytes += r.Stats.Traffic.Bytes
	}
	return out
}

func (o *Observer) portStats(name string) *api.PortStats {
	if o.cfg.Stats == nil {
		return nil
	}
	n, ok := o.cfg.Stats.Port(name)
	if !ok {
		return nil
	}
	return &api.PortStats{Denied: attempts(n.Denied), Pending: attempts(n.Pending), Since: n.Since}
}

// trafficNote says why packets and bytes are not counted; empty if they are, or
// nobody is to count.
func (o *Observer) trafficNote() string {
	if o.cfg.Traffic == nil {
		return ""
	}
	if err := o.cfg.Traffic.Err(); err != nil {
		return "not counted: " + err.Error()
	}
	return "counted"
}

func attempts(n [2]uint64) api.Attempts {
	return api.Attempts{Egress: n[flows.Egress], Ingress: n[flows.Ingress]}
}
