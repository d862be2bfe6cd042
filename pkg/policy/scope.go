package policy

// scopeKey names a scope: one namespace, or those a selector picks.
type scopeKey struct {
	name     string
	selector string
	// selected tells the selector that picks every namespace from none at all.
	selected bool
}

// scope is a number of namespaces with the sets that are picked from their pods.
type scope struct {
	key        scopeKey
	selector   *selector // nil for one namespace
	namespaces map[*namespace]struct{}
	sets       map[string]*set // by canonical pod selector
	// byLabel and loose find the sets that may select a pod: those that ask for
	// one of its labels and those that ask for no particular one.
	byLabel map[label]map[*set]struct{}
	loose   map[*set]struct{}
}

// scope returns the scope of a selection, which is made if need be.
func (u *universe) scope(sel podSelection) *scope {
	key := scopeKey{name: sel.namespace}
	if sel.namespaces != nil {
		key = scopeKey{selector: sel.namespaces.text, selected: true}
	}
	sc := u.scopes[key]
	if sc == nil {
		sc = &scope{
			key:        key,
			selector:   sel.namespaces,
			namespaces: map[*namespace]struct{}{},
			sets:       map[string]*set{},
			byLabel:    map[label]map[*set]struct{}{},
			loose:      map[*set]struct{}{},
		}
		u.scopes[key] = sc
		if sc.selector == nil {
			if ns := u.namespaces[sel.namespace]; ns != nil {
				sc.enter(ns)
			}
		} else {
			for _, ns := range u.namespaces {
				if sc.holds(ns) {
					sc.enter(ns)
				}
			}
		}
	}
	return sc
}

// holds reports whether a namespace belongs to the scope. As long as its labels
// are not known, only selectors that its name decides pick it.
func (sc *scope) holds(ns *namespace) bool {
	if sc.selector == nil {
		return sc.key.name == ns.name
	}
	return (ns.known || sc.selector.byName) && sc.selector.matches(ns.labels)
}

// enter adds a namespace and offers its pods to the scope's sets.
func (sc *scope) enter(ns *namespace) {
	sc.namespaces[ns] = struct{}{}
	ns.scopes[sc] = struct{}{}
	for _, s := range sc.sets {
		s.gather(ns)
	}
}

// exit takes a namespace and its pods away.
func (sc *scope) exit(ns *namespace) {
	delete(sc.namespaces, ns)
	delete(ns.scopes, sc)
	for m := range ns.members {
		for s := range m.sets {
			if s.scope == sc {
				s.take(m)
			}
		}
	}
}

// offer gives a pod of one of the scope's namespaces to the sets that select it.
func (sc *scope) offer(m *member) {
	for s := range sc.loose {
		s.offer(m)
	}
	for k, v := range m.labels {
		for s := range sc.byLabel[label{k, v}] {
			s.offer(m)
		}
	}
}

// index makes a set known to offer.
func (sc *scope) index(s *set) {
	sc.sets[s.selection.pods.text] = s
	for _, a := range s.selection.pods.anchors {
		insert(sc.byLabel, a, s)
	}
	if len(s.selection.pods.anchors) == 0 {
		sc.loose[s] = struct{}{}
	}
}

// unindex is the reverse of index.
func (sc *scope) unindex(s *set) {
	delete(sc.sets, s.selection.pods.text)
	for _, a := range s.selection.pods.anchors {
		erase(sc.byLabel, a, s)
	}
	delete(sc.loose, s)
}

// insert adds a value to a set in a map of sets.
func insert[K, V comparable](m map[K]map[V]struct{}, k K, v V) {
	if m[k] == nil {
		m[k] = map[V]struct{}{}
	}
	m[k][v] = struct{}{}
}

// erase removes a value from a set in a map of sets, and the set if it's empty.
func erase[K, V comparable](m map[K]map[V]struct{}, k K, v V) {
	delete(m[k], v)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}
