package policy

import (
	"github.com/sluice-cni/sluice/flows"
)

// set is the pods of a universe that a selection picks. Policies with equal
// selections share it.
type set struct {
	universe  *universe
	scope     *scope
	selection podSelection
	refs      int
	// group is all members; named are those whose ports of a name have a number.
	group group
	named map[portName]*resolution
	// subjects are the policies that apply to the members, with the directions in
	// which they isolate counted.
	subjects map[*policyState]int
	isolates [2]int
}

// acquire returns the set of a selection and keeps it until release.
func (u *universe) acquire(sel podSelection) *set {
	sc := u.scope(sel)
	s := sc.sets[sel.pods.text]
	if s == nil {
		s = &set{
			universe:  u,
			scope:     sc,
			selection: sel,
			group:     group{members: map[*member]struct{}{}},
			named:     map[portName]*resolution{},
			subjects:  map[*policyState]int{},
		}
		sc.index(s)
		for ns := range sc.namespaces {
			s.gather(ns)
		}
	}
	s.refs++
	return s
}

// release gives back what acquire returned.
func (u *universe) release(s *set) {
	if s.refs--; s.refs > 0 {
		return
	}
	for m := range s.group.members {
		s.take(m)
	}
	s.scope.unindex(s)
	if len(s.scope.sets) > 0 {
		return
	}
	for ns := range s.scope.namespaces {
		delete(ns.scopes, s.scope)
	}
	delete(u.scopes, s.scope.key)
}

// gather offers the pods of a namespace to the set.
func (s *set) gather(ns *namespace) {
	for _, candidates := range ns.candidates(s.selection.pods) {
		for m := range candidates {
			s.offer(m)
		}
	}
}

// offer adds a pod if the set selects it.
func (s *set) offer(m *member) {
	if !s.selection.pods.matches(m.labels) {
		return
	}
	m.sets[s] = struct{}{}
	s.universe.join(&s.group, m)
	if len(s.group.members) == 1 {
		s.stir()
	}
	for name, r := range s.named {
		r.add(s.universe, name, m)
	}
	if s.isolating() {
		s.universe.changed(m.key)
	}
}

// take removes a member.
func (s *set) take(m *member) {
	delete(m.sets, s)
	s.universe.part(&s.group, m)
	if len(s.group.members) == 0 {
		s.stir()
	}
	for name, r := range s.named {
		r.remove(s.universe, name, m)
	}
	if s.isolating() {
		s.universe.changed(m.key)
	}
}

// isolating reports whether the set's members are isolated in some direction.
func (s *set) isolating() bool { return s.isolates[flows.Egress] > 0 || s.isolates[flows.Ingress] > 0 }

// stir wakes the policies whose subjects have just appeared or gone.
func (s *set) stir() {
	for p := range s.subjects {
		s.universe.stirred(p)
	}
}

// apply makes a policy with the given directions apply to the members; by is 1,
// or -1 to end it.
func (s *set) apply(p *policyState, isolates [2]bool, by int) {
	if s.subjects[p] += by; s.subjects[p] == 0 {
		delete(s.subjects, p)
	}
	touched := false
	for _, dir := range flows.Directions {
		if !isolates[dir] {
			continue
		}
		was := s.isolates[dir] > 0
		s.isolates[dir] += by
		touched = touched || was != (s.isolates[dir] > 0)
	}
	if touched {
		for m := range s.group.members {
			s.universe.changed(m.key)
		}
	}
}

// group is a number of pods that a term can stand for.
type group struct {
	members map[*member]struct{}
	// terms are the handles the group has in each direction while rules of the
	// direction name it.
	terms [2]struct {
		handle flows.Term
		refs   int
	}
}

// held reports whether the group stands behind a term.
func (g *group) held() bool { return g.terms[flows.Egress].refs > 0 || g.terms[flows.Ingress].refs > 0 }

// join adds a member to a group.
func (u *universe) join(g *group, m *member) {
	g.members[m] = struct{}{}
	m.groups[g] = struct{}{}
	if g.held() {
		u.changed(m.key)
	}
}

// part takes a member out of a group.
func (u *universe) part(g *group, m *member) {
	delete(g.members, m)
	delete(m.groups, g)
	if g.held() {
		u.changed(m.key)
	}
}

// hold gives the group a handle in a direction, for as long as it's held.
func (u *universe) hold(g *group, dir flows.Direction) flows.Term {
	t := &g.terms[dir]
	if t.refs++; t.refs == 1 {
		t.handle = u.handles[dir].take()
		u.touch(g)
	}
	return t.handle
}

// drop gives back what hold gave.
func (u *universe) drop(g *group, dir flows.Direction) {
	t := &g.terms[dir]
	if t.refs--; t.refs == 0 {
		u.handles[dir].give(t.handle)
		t.handle = 0
		u.touch(g)
	}
}

// touch reports every member as changed.
func (u *universe) touch(g *group) {
	for m := range g.members {
		u.changed(m.key)
	}
}
