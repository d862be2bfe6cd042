package policy

import (
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// protocols maps the protocols of the API to their IANA numbers.
var protocols = map[string]uint8{"TCP": flows.TCP, "UDP": flows.UDP, "SCTP": flows.SCTP}

// protocolNames is the reverse of protocols.
var protocolNames = map[uint8]string{flows.TCP: "TCP", flows.UDP: "UDP", flows.SCTP: "SCTP"}

// portName is a named port as a policy asks for it.
type portName struct {
	protocol uint8
	name     string
}

// resolve returns the number that a pod's port of that name and protocol has:
// that of the first one with both, as the targetPort of a Service is resolved.
func (n portName) resolve(ports []cluster.NamedPort) (uint16, bool) {
	for _, p := range ports {
		if p.Name == n.name && protocols[p.Protocol] == n.protocol {
			return p.Port, p.Port != 0
		}
	}
	return 0, false
}

// resolution divides the members of a set by the number that a named port has
// on them. Members without such a port are in no group.
type resolution struct {
	// users are the policies with rules that depend on the numbers.
	users    map[*policyState]int
	byNumber map[uint16]*group
}

// watch makes the numbers of a named port known, and the policy stirred when
// they change, until unwatch.
func (s *set) watch(name portName, p *policyState) *resolution {
	r := s.named[name]
	if r == nil {
		r = &resolution{users: map[*policyState]int{}, byNumber: map[uint16]*group{}}
		s.named[name] = r
		for m := range s.group.members {
			r.add(s.universe, name, m)
		}
	}
	r.users[p]++
	return r
}

// unwatch is the reverse of watch. No rule may hold a group of it any more.
func (s *set) unwatch(name portName, p *policyState) {
	r := s.named[name]
	if r.users[p]--; r.users[p] == 0 {
		delete(r.users, p)
	}
	if len(r.users) > 0 {
		return
	}
	for _, g := range r.byNumber {
		for m := range g.members {
			s.universe.part(g, m)
		}
	}
	delete(s.named, name)
}

// add puts a member of the set into the group of its number.
func (r *resolution) add(u *universe, name portName, m *member) {
	n, ok := name.resolve(m.ports)
	if !ok {
		return
	}
	g := r.byNumber[n]
	if g == nil {
		g = &group{members: map[*member]struct{}{}}
		r.byNumber[n] = g
	}
	u.join(g, m)
	if len(g.members) == 1 {
		r.stir(u)
	}
}

// remove takes a member out of the group of its number. A group left empty stays
// until the rules that hold it are built anew.
func (r *resolution) remove(u *universe, name portName, m *member) {
	n, ok := name.resolve(m.ports)
	if !ok {
		return
	}
	g := r.byNumber[n]
	u.part(g, m)
	if len(g.members) == 0 {
		r.stir(u)
	}
}

// stir wakes the policies that depend on the numbers.
func (r *resolution) stir(u *universe) {
	for p := range r.users {
		u.stirred(p)
	}
}

// numbers returns the numbers that the port has on some member, sorted, and
// forgets those it no longer has.
func (r *resolution) numbers() []uint16 {
	var out []uint16
	for n, g := range r.byNumber {
		switch {
		case len(g.members) > 0:
			out = append(out, n)
		case !g.held():
			delete(r.byNumber, n)
		}
	}
	slices.Sort(out)
	return out
}
