package policy

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// universe is a number of pods and the sets that selections pick from them. A
// change of a pod is compared only with sets that may select it, a new set only
// with pods it may select.
type universe struct {
	namespaces map[string]*namespace
	scopes     map[scopeKey]*scope
	members    map[cluster.Key]*member
	// handles numbers the terms of each direction.
	handles [2]handles
	// changed is told of a pod whose terms or isolation may have changed.
	changed func(cluster.Key)
	// stirred is told of a policy whose rules may have changed.
	stirred func(*policyState)
}

func newUniverse(changed func(cluster.Key), stirred func(*policyState)) *universe {
	return &universe{
		namespaces: map[string]*namespace{},
		scopes:     map[scopeKey]*scope{},
		members:    map[cluster.Key]*member{},
		changed:    changed,
		stirred:    stirred,
	}
}

// member is a pod of a universe.
type member struct {
	key       cluster.Key
	namespace *namespace
	labels    labels.Set
	ports     []cluster.NamedPort
	sets      map[*set]struct{}
	groups    map[*group]struct{}
}

// terms returns the sorted handles of the member's groups that rules of a
// direction name.
func (m *member) terms(dir flows.Direction) []flows.Term {
	var out []flows.Term
	for g := range m.groups {
		if g.terms[dir].refs > 0 {
			out = append(out, g.terms[dir].handle)
		}
	}
	slices.Sort(out)
	return out
}

// namespace holds the pods of a namespace and the scopes it belongs to.
type namespace struct {
	name string
	// labels always has the name's own label; the others only if known is true.
	labels  labels.Set
	known   bool
	members map[*member]struct{}
	byLabel map[label]map[*member]struct{}
	scopes  map[*scope]struct{}
}

// candidates returns the members a selector may pick.
func (ns *namespace) candidates(s *selector) []map[*member]struct{} {
	if len(s.anchors) == 0 {
		return []map[*member]struct{}{ns.members}
	}
	out := make([]map[*member]struct{}, 0, len(s.anchors))
	for _, a := range s.anchors {
		out = append(out, ns.byLabel[a])
	}
	return out
}

// put adds a pod or changes it.
func (u *universe) put(key cluster.Key, l map[string]string, ports []cluster.NamedPort) {
	m := u.members[key]
	if m != nil {
		if maps.Equal(m.labels, l) && slices.Equal(m.ports, ports) {
			return
		}
		u.leave(m)
	} else {
		m = &member{key: key, namespace: u.namespace(key.Namespace), sets: map[*set]struct{}{}, groups: map[*group]struct{}{}}
		u.members[key] = m
	}
	m.labels, m.ports = l, ports
	ns := m.namespace
	ns.members[m] = struct{}{}
	for k, v := range l {
		insert(ns.byLabel, label{k, v}, m)
	}
	for sc := range ns.scopes {
		sc.offer(m)
	}
}

// remove takes a pod out of the universe and of all its sets.
func (u *universe) remove(key cluster.Key) {
	m := u.members[key]
	if m == nil {
		return
	}
	u.leave(m)
	delete(u.members, key)
	u.collect(m.namespace)
}

// leave takes a member out of all sets and indexes.
func (u *universe) leave(m *member) {
	for s := range m.sets {
		s.take(m)
	}
	ns := m.namespace
	delete(ns.members, m)
	for k, v := range m.labels {
		erase(ns.byLabel, label{k, v}, m)
	}
}

// setNamespace makes the labels of a namespace known, or unknown again.
func (u *universe) setNamespace(name string, l map[string]string, known bool) {
	ns := u.namespace(name)
	all := nameLabel(name)
	for k, v := range l {
		if k != corev1.LabelMetadataName {
			all[k] = v
		}
	}
	if ns.known != known || !maps.Equal(ns.labels, all) {
		ns.known, ns.labels = known, all
		u.rescope(ns)
	}
	u.collect(ns)
}

// rescope puts a namespace, with its pods, into the scopes that now hold it.
func (u *universe) rescope(ns *namespace) {
	for _, sc := range u.scopes {
		_, was := ns.scopes[sc]
		switch is := sc.holds(ns); {
		case is && !was:
			sc.enter(ns)
		case was && !is:
			sc.exit(ns)
		}
	}
}

// namespace returns the namespace of that name, which is made if need be.
func (u *universe) namespace(name string) *namespace {
	ns := u.namespaces[name]
	if ns == nil {
		ns = &namespace{
			name:    name,
			labels:  nameLabel(name),
			members: map[*member]struct{}{},
			byLabel: map[label]map[*member]struct{}{},
			scopes:  map[*scope]struct{}{},
		}
		u.namespaces[name] = ns
		u.rescope(ns)
	}
	return ns
}

// collect forgets a namespace of which there is nothing to remember.
func (u *universe) collect(ns *namespace) {
	if ns.known || len(ns.members) > 0 {
		return
	}
	for sc := range ns.scopes {
		sc.exit(ns)
	}
	delete(u.namespaces, ns.name)
}

func nameLabel(name string) labels.Set { return labels.Set{corev1.LabelMetadataName: name} }
