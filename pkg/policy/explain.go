package policy

import (
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// RuleInfo says what a rule of the pipeline stands for.
type RuleInfo struct {
	// Policy is the policy the rule comes from.
	Policy    cluster.Key
	Direction flows.Direction
	// Index is the rule's place in spec.ingress or spec.egress.
	Index int
	// Text is the rule in words: "from pods role=api in namespace shop on TCP 5432".
	Text string
}

// RuleOf explains a rule that was in force at the last Flush.
func (c *Compiler) RuleOf(key flows.RuleKey) (RuleInfo, bool) {
	r := c.toldRules[key]
	if r == nil {
		return RuleInfo{}, false
	}
	return RuleInfo{Policy: r.policy, Direction: r.source.direction, Index: r.source.index, Text: r.String()}, true
}

// PolicyInfo describes a policy of the cluster.
type PolicyInfo struct {
	Key cluster.Key
	// Subjects says in words which pods the policy applies to.
	Subjects string
	// Isolates says in which directions the policy isolates them, indexed by
	// flows.Direction.
	Isolates [2]bool
	// Active is true if the policy applies to a port of this node.
	Active bool
	// Rules are the policy's rules in force, sorted; only an active policy has some.
	Rules []flows.RuleKey
	// Problems are what is wrong with the policy.
	Problems []Problem
}

// Policies describes all policies, sorted by key. Active and Rules are as of the
// last Flush.
func (c *Compiler) Policies() []PolicyInfo {
	var out []PolicyInfo
	for _, p := range c.policies {
		if p.policy == nil {
			continue
		}
		info := PolicyInfo{
			Key:      p.key,
			Subjects: p.policy.subject.String(),
			Isolates: p.policy.isolates,
			Active:   p.subject != nil && len(p.subject.group.members) > 0,
			Problems: p.policy.problems,
		}
		for _, r := range p.rules {
			info.Rules = append(info.Rules, r.key)
		}
		slices.Sort(info.Rules)
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b PolicyInfo) int { return compareKeys(a.Key, b.Key) })
	return out
}

// Has reports whether the cluster has a policy.
func (c *Compiler) Has(policy cluster.Key) bool {
	p := c.policies[policy]
	return p != nil && p.policy != nil
}

// PodsOf returns the pods anywhere in the cluster that a policy applies to,
// sorted.
func (c *Compiler) PodsOf(policy cluster.Key) []cluster.Key {
	p := c.policies[policy]
	if p == nil || p.policy == nil {
		return nil
	}
	var out []cluster.Key
	for key, pod := range c.pods {
		if p.policy.appliesTo(pod) {
			out = append(out, key)
		}
	}
	slices.SortFunc(out, compareKeys)
	return out
}

// Isolating returns the policies that isolate a pod, on this node or another, in
// a direction, sorted.
func (c *Compiler) Isolating(pod cluster.Key, dir flows.Direction) []cluster.Key {
	known := c.pods[pod]
	if known == nil {
		return nil
	}
	var out []cluster.Key
	for _, p := range c.policies {
		if p.policy != nil && p.policy.isolates[dir] && p.policy.appliesTo(known) {
			out = append(out, p.key)
		}
	}
	slices.SortFunc(out, compareKeys)
	return out
}

// appliesTo reports whether the policy's podSelector picks a pod.
func (p *parsed) appliesTo(pod *cluster.Pod) bool {
	return !pod.HostNetwork && !pod.Finished && pod.Namespace == p.subject.namespace &&
		p.subject.pods.matches(labels.Set(pod.Labels))
}

// PodByAddr returns the pod that has an address. A pod behind a port of this
// node comes before others that claim it, even if the cluster doesn't know that
// pod yet; then the first by name is taken.
func (c *Compiler) PodByAddr(addr netip.Addr) (cluster.Key, bool) {
	addr = addr.Unmap().WithZone("")
	owners := c.owners(addr)
	if len(owners) == 0 || !c.claims[owners[0]].local {
		for _, name := range slices.Sorted(maps.Keys(c.ports)) {
			if p := c.ports[name]; slices.Contains(p.Addrs, addr) {
				return p.Pod, true
			}
		}
	}
	if len(owners) == 0 {
		return cluster.Key{}, false
	}
	return slices.MinFunc(owners, compareKeys), true
}
