// Package observe explains what the bridge does: the way of a packet with the
// rule and policy behind each verdict, and what ports, policies, rules,
// identities and flows are in force.
package observe

import (
	"context"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/stats"
	"github.com/sluice-cni/sluice/pkg/traffic"
)

// Config says what to observe.
type Config struct {
	Enforcer *enforce.Enforcer
	// Switch is the bridge, for its counters. Without it none are told.
	Switch *openflow.Bridge
	// Vswitchd returns the control socket of the ovs-vswitchd that runs now.
	Vswitchd func() (*unixctl.Client, error)
	// Stats are the statistics; nil if nobody counts.
	Stats *stats.Collector
	// Traffic are the totals of what connections carried; nil if nobody counts.
	Traffic *traffic.Tracker
	// Bridge is the bridge's name, Node the node's.
	Bridge, Node string
	// Network returns how other nodes are reached, with a nil plan if that is not
	// known yet. Without it nothing is told of the network.
	Network func() (mode nodes.Mode, tunnel string, plan *nodes.Plan)
}

// Observer answers questions about one bridge. It keeps no state but the bridge's
// counters of a moment ago, and is safe for concurrent use.
type Observer struct {
	cfg      Config
	tables   map[uint8]string
	counters *counters
}

// New returns an observer.
func New(cfg Config) *Observer {
	return &Observer{cfg: cfg, tables: flows.TableNames(), counters: newCounters()}
}

// Ports lists the pods' ports by pod.
func (o *Observer) Ports(ctx context.Context) ([]api.Port, error) {
	o.collect(ctx)
	var out []api.Port
	err := o.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		for name, p := range v.Ports() {
			port := api.Port{
				Name: name, OFPort: p.OFPort, Pod: p.Pod.String(), UID: p.UID, MAC: p.MAC.String(), Addrs: texts(p.Addrs), State: "open",
				EgressBy: keys(v.Compiler().Isolating(p.Pod, flows.Egress)), IngressBy: keys(v.Compiler().Isolating(p.Pod, flows.Ingress)),
				Stats: o.portStats(name),
			}
			now, known := v.Pipeline().Port(name)
			switch {
			case !known || now.Pending:
				port.State = "pending"
			case now.Subject[flows.Egress].Isolated || now.Subject[flows.Ingress].Isolated:
				port.State = "isolated"
			}
			out = append(out, port)
		}
	})
	slices.SortFunc(out, func(a, b api.Port) int { return compare(a.Pod, b.Pod, a.Name, b.Name) })
	return out, err
}

// Policies lists the NetworkPolicies of the cluster by name.
func (o *Observer) Policies(ctx context.Context) ([]api.Policy, error) {
	o.collect(ctx)
	var out []api.Policy
	err := o.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		for _, p := range v.Compiler().Policies() {
			policy := api.Policy{
				Name: p.Key.String(), Subjects: p.Subjects, Active: p.Active,
				Pods: keys(v.Compiler().PodsOf(p.Key)), Isolates: []string{},
			}
			for _, d := range flows.Directions {
				if p.Isolates[d] {
					policy.Isolates = append(policy.Isolates, d.String())
				}
			}
			for _, k := range p.Rules {
				if r := RuleOf(v, k); r != nil {
					r.Stats = o.ruleStats(r)
					policy.Rules = append(policy.Rules, *r)
				}
			}
			policy.Stats = o.policyStats(p.Key, policy.Rules)
			for _, problem := range p.Problems {
				policy.Problems = append(policy.Problems, problem.Field+": "+problem.Message)
			}
			out = append(out, policy)
		}
	})
	return out, err
}

// Rules lists the rules in force on this node by key.
func (o *Observer) Rules(ctx context.Context) ([]api.Rule, error) {
	policies, err := o.Policies(ctx)
	out := []api.Rule{}
	for _, p := range policies {
		out = append(out, p.Rules...)
	}
	slices.SortFunc(out, func(a, b api.Rule) int { return compare(a.Key, b.Key) })
	return out, err
}

// Identities lists the classes of peers, egress first.
func (o *Observer) Identities(ctx context.Context) ([]api.Identity, error) {
	out := []api.Identity{}
	err := o.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		for _, d := range flows.Directions {
			for _, id := range v.Pipeline().Identities(d) {
				entry := api.Identity{Direction: d.String(), ID: id.ID, Addrs: texts(id.Addrs)}
				for _, a := range id.Addrs {
					if pod, ok := v.Compiler().PodByAddr(a); ok && !slices.Contains(entry.Pods, pod.String()) {
						entry.Pods = append(entry.Pods, pod.String())
					}
				}
				out = append(out, entry)
			}
		}
	})
	return out, err
}

// Flows lists the flows that the bridge should hold, by table, and in each by
// falling priority.
func (o *Observer) Flows(ctx context.Context) ([]api.Flow, error) {
	type entry struct {
		api.Flow
		table int
	}
	var all []entry
	err := o.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		for f := range v.Pipeline().Flows() {
			all = append(all, entry{api.Flow{
				Table: flows.Table(f.Table).String(), Priority: f.Priority, Object: flows.Cookie(f.Cookie).String(), Text: openflow.Text(f),
			}, f.Table})
		}
	})
	slices.SortStableFunc(all, func(a, b entry) int {
		if a.table != b.table {
			return a.table - b.table
		}
		return b.Priority - a.Priority
	})
	out := make([]api.Flow, len(all))
	for i, f := range all {
		out[i] = f.Flow
	}
	return out, err
}

// Status tells how the agent is.
func (o *Observer) Status(ctx context.Context) (api.Status, error) {
	out := api.Status{Node: o.cfg.Node, Bridge: o.cfg.Bridge, Network: o.networkStatus(), Traffic: o.trafficNote()}
	err := o.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		s := v.Stats()
		out.Ready, out.Bundles, out.Flows, out.Cut = v.Ready(), s.Bundles, s.Flows, s.Cut
	})
	return out, err
}

// RuleOf describes a rule in force, nil if there is no such rule.
func RuleOf(v enforce.View, k flows.RuleKey) *api.Rule {
	info, ok := v.Compiler().RuleOf(k)
	if !ok {
		return nil
	}
	r := &api.Rule{
		Key: string(k), Policy: info.Policy.String(), Direction: info.Direction.String(), Index: info.Index, Text: info.Text,
	}
	r.ID, _ = v.Pipeline().RuleID(info.Direction, k)
	return r
}

func texts(as []netip.Addr) []string {
	out := []string{}
	for _, a := range as {
		out = append(out, a.String())
	}
	return out
}

func keys(ks []cluster.Key) []string {
	var out []string
	for _, k := range ks {
		out = append(out, k.String())
	}
	return out
}

// compare compares pairs of strings in turn until one differs.
func compare(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		switch {
		case pairs[i] < pairs[i+1]:
			return -1
		case pairs[i] > pairs[i+1]:
			return 1
		}
	}
	return 0
}
