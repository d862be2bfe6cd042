package policy

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Flush returns what has changed since the last Flush: what the pipeline has to
// be told, and what is wrong with policies heard of since. The lists of the
// delta are sorted by name.
func (c *Compiler) Flush() (flows.Delta, []Problem) {
	var d flows.Delta
	var problems []Problem
	d.Rules, problems = c.flushPolicies()
	for _, dir := range flows.Directions {
		d.Blocks = append(d.Blocks, c.blocks[dir].flush()...)
	}
	d.Peers = c.flushPeers()
	d.Ports = c.flushPorts()
	for _, dir := range flows.Directions {
		c.subjects.handles[dir].settle()
		c.peers.handles[dir].settle()
	}
	return d, problems
}

// flushPolicies puts the policies that were touched into force.
func (c *Compiler) flushPolicies() ([]flows.RuleChange, []Problem) {
	touched := make([]*policyState, 0, len(c.dirtyPolicies))
	for p := range c.dirtyPolicies {
		touched = append(touched, p)
	}
	clear(c.dirtyPolicies)
	slices.SortFunc(touched, func(a, b *policyState) int { return compareKeys(a.key, b.key) })

	// All that is new is held before anything old is given up: what merely moves
	// from one policy to another keeps its handle.
	var problems []Problem
	old := make([]applied, len(touched))
	for i, p := range touched {
		if p.unread {
			problems = append(problems, p.policy.problems...)
			p.unread = false
		}
		old[i], p.applied = p.applied, c.apply(p)
	}
	var changes []flows.RuleChange
	for i, p := range touched {
		changes = append(changes, c.tellRules(old[i].rules, p.rules)...)
		c.withdraw(p, old[i])
		if p.policy == nil && c.policies[p.key] == p {
			delete(c.policies, p.key)
		}
	}
	slices.SortFunc(changes, func(a, b flows.RuleChange) int { return cmp.Compare(a.Key, b.Key) })
	return changes, problems
}

// tellRules returns what changes between the rules a policy had and has.
func (c *Compiler) tellRules(old, now []*rule) []flows.RuleChange {
	var out []flows.RuleChange
	kept := make(map[flows.RuleKey]bool, len(now))
	for _, r := range now {
		kept[r.key] = true
		if was := c.toldRules[r.key]; was == nil || !sameRule(&was.told, &r.told) {
			told := r.told
			out = append(out, flows.RuleChange{Key: r.key, Rule: &told})
		}
		c.toldRules[r.key] = r
	}
	for _, r := range old {
		if !kept[r.key] {
			out = append(out, flows.RuleChange{Key: r.key})
			delete(c.toldRules, r.key)
		}
	}
	return out
}

// flushPeers returns the addresses whose terms have changed.
func (c *Compiler) flushPeers() []flows.PeerChange {
	var out []flows.PeerChange
	for addr := range c.dirtyAddrs {
		now := c.peer(addr)
		if samePeer(c.toldPeers[addr], now) {
			continue
		}
		if now == nil {
			delete(c.toldPeers, addr)
		} else {
			c.toldPeers[addr] = now
		}
		out = append(out, flows.PeerChange{Addr: addr, Peer: now})
	}
	clear(c.dirtyAddrs)
	slices.SortFunc(out, func(a, b flows.PeerChange) int { return a.Addr.Compare(b.Addr) })
	return out
}

// flushPorts returns the ports that have changed.
func (c *Compiler) flushPorts() []flows.PortChange {
	var out []flows.PortChange
	for name := range c.dirtyPorts {
		now := c.port(name)
		if sameFlowPort(c.toldPorts[name], now) {
			continue
		}
		if now == nil {
			delete(c.toldPorts, name)
		} else {
			c.toldPorts[name] = now
		}
		out = append(out, flows.PortChange{Name: name, Port: now})
	}
	clear(c.dirtyPorts)
	slices.SortFunc(out, func(a, b flows.PortChange) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// port returns a port as the pipeline has to see it, nil if there is none.
func (c *Compiler) port(name string) *flows.Port {
	p := c.ports[name]
	if p == nil {
		return nil
	}
	out := &flows.Port{Name: p.Name, OFPort: p.OFPort, MAC: p.MAC, Addrs: p.Addrs, Pending: !p.bound}
	if !p.bound {
		return out
	}
	m := c.subjects.members[p.Pod]
	for _, dir := range flows.Directions {
		out.Subject[dir].Terms = m.terms(dir)
		for s := range m.sets {
			out.Subject[dir].Isolated = out.Subject[dir].Isolated || s.isolates[dir] > 0
		}
	}
	return out
}

func samePeer(a, b *flows.Peer) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.Terms[0], b.Terms[0]) && slices.Equal(a.Terms[1], b.Terms[1])
}

func sameFlowPort(a, b *flows.Port) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.OFPort == b.OFPort && bytes.Equal(a.MAC, b.MAC) && slices.Equal(a.Addrs, b.Addrs) &&
		a.Pending == b.Pending && sameSubject(a.Subject[0], b.Subject[0]) && sameSubject(a.Subject[1], b.Subject[1])
}

func sameSubject(a, b flows.Subject) bool {
	return a.Isolated == b.Isolated && slices.Equal(a.Terms, b.Terms)
}

func compareKeys(a, b cluster.Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
