package service

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Flush returns what has changed since the last Flush, sorted: the balancers the
// pipeline has to be told of, and the problems that did not stand then. A
// frontend may go from one balancer to another; the changes are to be taken all
// at once.
func (c *Compiler) Flush() (changes []flows.BalancerChange, problems []Problem) {
	// Claims are settled first, and may touch more Services.
	gone := map[flows.BalancerKey]*balancer{}
	for _, s := range c.touched() {
		if s.unread {
			c.read(s, gone)
		}
	}
	for key, b := range gone {
		if b.told != nil && c.byKey[key] == nil {
			changes = append(changes, flows.BalancerChange{Key: key})
		}
	}
	for _, s := range c.touched() {
		more, news := c.compile(s)
		changes, problems = append(changes, more...), append(problems, news...)
		if s.spec == nil && len(s.slices) == 0 {
			delete(c.services, s.key)
		}
	}
	clear(c.dirty)
	slices.SortFunc(changes, func(a, b flows.BalancerChange) int { return cmp.Compare(a.Key, b.Key) })
	return changes, problems
}

// touched are the dirty Services, by key.
func (c *Compiler) touched() []*state {
	return slices.SortedFunc(maps.Keys(c.dirty), func(a, b *state) int { return compareKeys(a.key, b.key) })
}

func compareKeys(a, b cluster.Key) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// read makes the balancers of a Service those of its spec. The ones it had are
// gone, though most come back under the same key, with what was told of them.
func (c *Compiler) read(s *state, gone map[flows.BalancerKey]*balancer) {
	for _, b := range s.balancers {
		c.claims.leave(b, c.touch)
		delete(c.byKey, b.key)
		gone[b.key] = b
	}
	s.balancers, s.invalid, s.unread = nil, nil, false
	if s.spec == nil {
		return
	}
	for i := range s.spec.Ports {
		for _, ip := range s.spec.ClusterIPs {
			b := newBalancer(s, &s.spec.Ports[i], ip)
			if c.byKey[b.key] != nil {
				s.invalid = append(s.invalid, Problem{s.key, "spec.ports", "more than one is " + string(b.key)})
				continue
			}
			if was := gone[b.key]; was != nil {
				b.told = was.told
			}
			c.byKey[b.key] = b
			s.balancers = append(s.balancers, b)
			c.claims.enter(b, c.touch)
		}
	}
}

// compile returns what changes of a Service's balancers, and the problems that
// did not stand before.
func (c *Compiler) compile(s *state) (changes []flows.BalancerChange, news []Problem) {
	problems := slices.Clone(s.invalid)
	for _, b := range s.balancers {
		has, lost := c.claims.sort(b)
		problems = append(problems, lost...)
		now := b.render(has, c.at.gather(s.slices, b.port, b.is6), c.at)
		if !same(b.told, now) {
			b.told = now
			changes = append(changes, flows.BalancerChange{Key: b.key, Balancer: now})
		}
	}
	for _, p := range problems {
		if !slices.Contains(s.told, p) {
			news = append(news, p)
		}
	}
	s.told = problems
	c.check(s)
	return changes, news
}
