package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// policyState is what the compiler holds on behalf of a policy.
type policyState struct {
	key cluster.Key
	// policy is the policy as last heard of, nil once it's gone.
	policy *parsed
	// unread is true if the problems of policy have not been told yet.
	unread bool
	// applied is what was in force at the last flush.
	applied
}

// applied is what a policy has in force: its claims on sets and its rules.
type applied struct {
	subject  *set // nil if there is no policy
	isolates [2]bool
	peers    []*set
	watches  []watch
	rules    []*rule
}

// watch is a claim on the numbers of a named port.
type watch struct {
	set  *set
	name portName
}

// rule is a rule as it's told to the pipeline, with what it holds there.
type rule struct {
	key     flows.RuleKey
	policy  cluster.Key
	source  *parsedRule
	subject *group
	peers   []*group
	blocks  []*block
	told    flows.Rule
	// port is the named port the rule stands for, if any.
	port portName
}

// apply puts a policy into force as the universes are now. What was in force
// before stays held, so that handles outlive the change.
func (c *Compiler) apply(p *policyState) applied {
	var out applied
	if p.policy == nil {
		return out
	}
	out.subject = c.subjects.acquire(p.policy.subject)
	out.isolates = p.policy.isolates
	out.subject.apply(p, out.isolates, 1)
	// Rules without a subject on this node cost the bridge and serve nobody.
	if len(out.subject.group.members) == 0 {
		return out
	}
	b := builder{c: c, policy: p, out: &out}
	for _, r := range p.policy.rules {
		b.build(r)
	}
	return out
}

// withdraw gives up what was in force.
func (c *Compiler) withdraw(p *policyState, old applied) {
	for _, r := range old.rules {
		dir := r.source.direction
		c.subjects.drop(r.subject, dir)
		for _, g := range r.peers {
			c.peers.drop(g, dir)
		}
		for _, b := range r.blocks {
			c.blocks[dir].drop(b, &c.peers.handles[dir])
		}
	}
	for _, w := range old.watches {
		w.set.unwatch(w.name, p)
	}
	for _, s := range old.peers {
		c.peers.release(s)
	}
	if old.subject != nil {
		old.subject.apply(p, old.isolates, -1)
		c.subjects.release(old.subject)
	}
}

// builder makes the rules of one policy.
type builder struct {
	c      *Compiler
	policy *policyState
	out    *applied
}

// build makes the rule for what a policy rule gives by number, and one for each
// number that its named ports stand for.
func (b *builder) build(r *parsedRule) {
	var peers []*set
	for _, sel := range r.peers {
		peers = append(peers, b.peer(sel))
	}
	if r.anyService || len(r.services) > 0 {
		b.add(&rule{source: r, subject: &b.out.subject.group, peers: groupsOf(peers)}, r.services)
	}
	for _, name := range r.named {
		if r.direction == flows.Ingress {
			b.ingress(r, name, peers)
		} else {
			b.egress(r, name, peers)
		}
	}
}

// ingress makes the rules of a named port that is looked up on the subjects.
func (b *builder) ingress(r *parsedRule, name portName, peers []*set) {
	numbers := b.watch(b.out.subject, name)
	for _, n := range numbers.numbers() {
		b.add(&rule{source: r, subject: numbers.byNumber[n], peers: groupsOf(peers), port: name},
			[]flows.Service{{Protocol: name.protocol, Port: n}})
	}
}

// egress makes the rules of a named port that is looked up on the peers: each
// number with those peers only that have it. An ipBlock has no named ports.
func (b *builder) egress(r *parsedRule, name portName, peers []*set) {
	if r.anyPeer {
		peers = []*set{b.peer(everyPod)}
	}
	byNumber := map[uint16][]*group{}
	for _, s := range peers {
		numbers := b.watch(s, name)
		for _, n := range numbers.numbers() {
			byNumber[n] = append(byNumber[n], numbers.byNumber[n])
		}
	}
	for _, n := range slices.Sorted(maps.Keys(byNumber)) {
		b.add(&rule{source: r, subject: &b.out.subject.group, peers: byNumber[n], port: name},
			[]flows.Service{{Protocol: name.protocol, Port: n}})
	}
}

// add completes a rule with what it has to hold.
func (b *builder) add(r *rule, services []flows.Service) {
	dir := r.source.direction
	r.policy = b.policy.key
	r.key = ruleKey(r.policy, dir, r.source.index)
	if r.port.name != "" {
		r.key += flows.RuleKey(portSuffix(r.port, services[0].Port))
	}
	// Of a port that is looked up on the peers, only pods are peers.
	podsOnly := r.port.name != "" && dir == flows.Egress
	r.told = flows.Rule{
		Direction: dir,
		Tier:      flows.TierNetworkPolicy,
		Subjects:  []flows.Term{b.c.subjects.hold(r.subject, dir)},
		AnyPeer:   r.source.anyPeer && !podsOnly,
		Services:  services,
	}
	for _, g := range r.peers {
		r.told.Peers = append(r.told.Peers, b.c.peers.hold(g, dir))
	}
	if !podsOnly {
		for _, v := range r.source.blocks {
			held := b.c.blocks[dir].hold(v, &b.c.peers.handles[dir])
			r.blocks = append(r.blocks, held)
			r.told.Peers = append(r.told.Peers, held.handle)
		}
	}
	slices.Sort(r.told.Peers)
	r.told.Peers = slices.Compact(r.told.Peers)
	b.out.rules = append(b.out.rules, r)
}

// peer claims the set of a peer selection.
func (b *builder) peer(sel podSelection) *set {
	s := b.c.peers.acquire(sel)
	b.out.peers = append(b.out.peers, s)
	return s
}

// watch claims the numbers of a named port.
func (b *builder) watch(s *set, name portName) *resolution {
	b.out.watches = append(b.out.watches, watch{s, name})
	return s.watch(name, b.policy)
}

func groupsOf(sets []*set) []*group {
	out := make([]*group, len(sets))
	for i, s := range sets {
		out[i] = &s.group
	}
	return out
}

// ruleKey names the rule of a policy that has no suffix.
func ruleKey(policy cluster.Key, dir flows.Direction, i int) flows.RuleKey {
	return flows.RuleKey(fmt.Sprintf("NetworkPolicy/%s/%s/%d", policy, dir, i))
}

// portSuffix tells apart the rules that named ports split a rule into: the name
// and the number, and the protocol if it's not TCP.
func portSuffix(name portName, number uint16) string {
	if name.protocol == flows.TCP {
		return fmt.Sprintf("#%s=%d", name.name, number)
	}
	return fmt.Sprintf("#%s=%d/%s", name.name, number, strings.ToLower(protocolNames[name.protocol]))
}

// sameRule reports whether two rules tell the pipeline the same.
func sameRule(a, b *flows.Rule) bool {
	return a.Direction == b.Direction && a.Tier == b.Tier && a.AnyPeer == b.AnyPeer &&
		slices.Equal(a.Subjects, b.Subjects) && slices.Equal(a.Peers, b.Peers) && slices.Equal(a.Services, b.Services)
}
