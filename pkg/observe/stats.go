package observe

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
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
func (o *Observer) ruleStats(k flows.RuleKey) *api.RuleStats {
	if o.cfg.Stats == nil {
		return nil
	}
	n, ok := o.cfg.Stats.Rule(k)
	if !ok {
		return nil
	}
	return &api.RuleStats{Attempts: n.Attempts, Since: n.Since}
}

func (o *Observer) policyStats(k cluster.Key) *api.PolicyStats {
	if o.cfg.Stats == nil {
		return nil
	}
	n, ok := o.cfg.Stats.Policy(k)
	if !ok {
		return nil
	}
	return &api.PolicyStats{Allowed: attempts(n.Allowed), Denied: attempts(n.Denied), Since: n.Since}
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

func attempts(n [2]uint64) api.Attempts {
	return api.Attempts{Egress: n[flows.Egress], Ingress: n[flows.Ingress]}
}
