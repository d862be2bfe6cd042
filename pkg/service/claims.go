package service

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// spot is what only one balancer can have: an address, or every address of the
// node if it is not valid, with protocol and port.
type spot struct {
	addr     netip.Addr
	is6      bool
	protocol string
	port     uint16
}

// at returns the spot of a frontend of the balancer.
func (b *balancer) at(f *frontend) spot {
	return spot{f.Addr, b.is6, b.port.Protocol, f.Port}
}

func (s spot) String() string {
	if s.addr.IsValid() {
		return fmt.Sprintf("%s/%s", netip.AddrPortFrom(s.addr, s.port), s.protocol)
	}
	return fmt.Sprintf("node port %d/%s", s.port, s.protocol)
}

// claim is a balancer's wish for a spot.
type claim struct {
	*balancer
	kind Kind
}

// claims are all claims of each spot, the best first.
type claims map[spot][]claim

// compare puts the better claim first. It depends on nothing but the Services, so
// that all nodes, and an agent that starts, agree.
func (a claim) compare(b claim) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.created, b.created),
		strings.Compare(a.of.key.Namespace, b.of.key.Namespace), strings.Compare(a.of.key.Name, b.of.key.Name),
		strings.Compare(string(a.key), string(b.key)))
}

// enter adds the claims of a balancer, and tells touch of those that have to do
// with one who wants the same.
func (c claims) enter(b *balancer, touch func(*state)) {
	for i := range b.wants {
		f := &b.wants[i]
		s, mine := b.at(f), claim{b, f.kind}
		for _, other := range c[s] {
			touch(other.of)
		}
		at, _ := slices.BinarySearchFunc(c[s], mine, claim.compare)
		c[s] = slices.Insert(c[s], at, mine)
	}
}

// leave takes the claims of a balancer back.
func (c claims) leave(b *balancer, touch func(*state)) {
	for i := range b.wants {
		s := b.at(&b.wants[i])
		c[s] = slices.DeleteFunc(c[s], func(have claim) bool { return have.balancer == b })
		for _, other := range c[s] {
			touch(other.of)
		}
		if len(c[s]) == 0 {
			delete(c, s)
		}
	}
}

// sort divides what a balancer wants in what it has and what is another's.
func (c claims) sort(b *balancer) (has []frontend, problems []Problem) {
	for i := range b.wants {
		f := &b.wants[i]
		s := b.at(f)
		first := c[s][0]
		if first.balancer == b {
			has = append(has, *f)
			continue
		}
		problems = append(problems, Problem{Service: b.of.key, Field: kinds[f.kind].field,
			Message: fmt.Sprintf("%s is of Service %s, by its %s", s, first.of.key, kinds[first.kind].field)})
	}
	return has, problems
}
