package conjunction

import (
	"cmp"
	"hash/fnv"
	"iter"
	"slices"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// Table holds the rules of one policy table, and knows which of its flows have
// been taken by Take. It is not safe for concurrent use.
type Table struct {
	layout  Layout
	rules   map[string]*rule
	byID    map[uint32]*rule
	restore map[uint64]place    // by cookie, what a bridge held before
	reserve map[uint32]struct{} // the ids in restore
	pages   pages
	classes [numKinds]map[uint32][]uint32            // class -> terms
	members [numKinds]map[uint32]map[uint32]struct{} // term -> classes

	byTerm    [2]map[uint32]map[uint32][]*rule // dimension -> term -> page -> rules, by id
	byService map[uint32]map[Service][]*rule   // page -> service -> rules, by id
	trivial   map[uint32][]*rule               // page -> rules, by id

	emitted struct {
		clauses map[clause]uint64   // hash of the actions
		rules   map[uint32]uint32   // id -> page
		chains  map[uint32][]uint32 // subject class -> pages
	}
	dirty struct {
		clauses map[clause]struct{}
		rules   map[uint32]*rule // nil: gone
		chains  map[uint32]struct{}
	}
	gone map[uint32]uint64 // cookies of rules that went, by id
}

type place struct{ id, page uint32 }

// New returns a table without rules.
func New(layout Layout) *Table {
	t := &Table{
		layout: layout, rules: map[string]*rule{}, byID: map[uint32]*rule{}, restore: map[uint64]place{}, reserve: map[uint32]struct{}{},
		byService: map[uint32]map[Service][]*rule{}, trivial: map[uint32][]*rule{}, gone: map[uint32]uint64{},
	}
	t.pages.init(cmp.Or(layout.PageSize, PageSize))
	for k := range t.classes {
		t.classes[k] = map[uint32][]uint32{}
		t.members[k] = map[uint32]map[uint32]struct{}{}
	}
	for d := range t.byTerm {
		t.byTerm[d] = map[uint32]map[uint32][]*rule{}
	}
	t.emitted.clauses = map[clause]uint64{}
	t.emitted.rules = map[uint32]uint32{}
	t.emitted.chains = map[uint32][]uint32{}
	t.clean()
	return t
}

func (t *Table) clean() {
	t.dirty.clauses = map[clause]struct{}{}
	t.dirty.rules = map[uint32]*rule{}
	t.dirty.chains = map[uint32]struct{}{}
}

// Restore tells which id and page a rule had on a bridge, before the rule is
// set for the first time.
func (t *Table) Restore(cookie uint64, id, page uint32) {
	if id != 0 && page != 0 {
		t.restore[cookie] = place{id, page}
		t.reserve[id] = struct{}{}
	}
}

// Restored ends the time in which what Restore told is kept for rules that have
// not been set yet.
func (t *Table) Restored() {
	clear(t.restore)
	clear(t.reserve)
}

// SetClass says that a class stands for a set of terms, sorted and without
// duplicates. No terms end the class.
func (t *Table) SetClass(k Kind, class uint32, terms []uint32) {
	old := t.classes[k][class]
	if slices.Equal(old, terms) {
		return
	}
	for _, term := range old {
		t.touch(k, term, class)
		delete(t.members[k][term], class)
		if len(t.members[k][term]) == 0 {
			delete(t.members[k], term)
		}
	}
	for _, term := range terms {
		m := t.members[k][term]
		if m == nil {
			m = map[uint32]struct{}{}
			t.members[k][term] = m
		}
		m[class] = struct{}{}
		t.touch(k, term, class)
	}
	if k == Subject {
		t.dirty.chains[class] = struct{}{}
	}
	if len(terms) == 0 {
		delete(t.classes[k], class)
		return
	}
	t.classes[k][class] = terms
}

// touch marks the clauses of a class on each page that has rules with the term.
func (t *Table) touch(k Kind, term, class uint32) {
	for page := range t.byTerm[k.dim()][term] {
		t.dirty.clauses[clause{page: page, kind: clauseKind(k), class: class}] = struct{}{}
	}
}

// SetRule adds or replaces a rule. The cookie marks the rule's own flow and is
// what Restore knows it by.
func (t *Table) SetRule(key string, cookie uint64, r Rule) {
	old := t.rules[key]
	if old != nil {
		// The id stays the rule's: live connections carry it.
		t.unlink(old)
		old.Rule = r
		t.link(old)
		return
	}
	n := &rule{Rule: r, key: key, cookie: cookie}
	p, restored := t.restore[cookie]
	if restored {
		delete(t.restore, cookie)
		delete(t.reserve, p.id)
		_, taken := t.byID[p.id]
		restored = !taken && t.pages.claim(p.page)
	}
	if restored {
		n.id, n.page = p.id, p.page
	} else {
		n.id, n.page = t.freeID(key), t.pages.take(t.pagesOf(r.Subjects[0]))
	}
	t.rules[key], t.byID[n.id] = n, n
	delete(t.gone, n.id)
	t.dirty.rules[n.id] = n
	t.link(n)
}

// DeleteRule removes a rule; it need not be there.
func (t *Table) DeleteRule(key string) {
	r := t.rules[key]
	if r == nil {
		return
	}
	t.unlink(r)
	t.pages.give(r.page)
	delete(t.rules, key)
	delete(t.byID, r.id)
	t.dirty.rules[r.id] = nil
	t.gone[r.id] = r.cookie
}

// freeID returns the conjunction id for a key: a hash of it, so that a rule has
// the same one on every node and after every restart, or the next free number
// where two keys share a hash.
func (t *Table) freeID(key string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(key))
	id := h.Sum32()
	for {
		_, taken := t.byID[id]
		_, reserved := t.reserve[id]
		if id != 0 && !taken && !reserved {
			return id
		}
		id++
	}
}

// pagesOf returns the pages that hold rules over a subject term.
func (t *Table) pagesOf(term uint32) []uint32 {
	return flow.SortedKeys(t.byTerm[Subject][term], cmp.Less[uint32])
}

// link and unlink enter a rule into the indexes and take it out again, and mark
// what shows it.
func (t *Table) link(r *rule)   { t.index(r, insert) }
func (t *Table) unlink(r *rule) { t.index(r, remove) }

func (t *Table) index(r *rule, edit func([]*rule, *rule) []*rule) {
	for d, terms := range [2][]uint32{Subject: r.Subjects, Peer: r.Peers} {
		for _, term := range terms {
			pages := t.byTerm[d][term]
			if pages == nil {
				pages = map[uint32][]*rule{}
				t.byTerm[d][term] = pages
			}
			if pages[r.page] = edit(pages[r.page], r); len(pages[r.page]) == 0 {
				delete(pages, r.page)
			}
			if len(pages) == 0 {
				delete(t.byTerm[d], term)
			}
			for k := Subject; k < numKinds; k++ {
				if k.dim() != Kind(d) {
					continue
				}
				for class := range t.members[k][term] {
					t.dirty.clauses[clause{page: r.page, kind: clauseKind(k), class: class}] = struct{}{}
					if k == Subject {
						t.dirty.chains[class] = struct{}{}
					}
				}
			}
		}
	}
	for _, s := range r.Services {
		services := t.byService[r.page]
		if services == nil {
			services = map[Service][]*rule{}
			t.byService[r.page] = services
		}
		if services[s] = edit(services[s], r); len(services[s]) == 0 {
			delete(services, s)
		}
		if len(services) == 0 {
			delete(t.byService, r.page)
		}
		t.dirty.clauses[clause{page: r.page, kind: clauseService4, svc: s}] = struct{}{}
		t.dirty.clauses[clause{page: r.page, kind: clauseService6, svc: s}] = struct{}{}
	}
	if r.trivial() {
		if t.trivial[r.page] = edit(t.trivial[r.page], r); len(t.trivial[r.page]) == 0 {
			delete(t.trivial, r.page)
		}
		t.dirty.clauses[clause{page: r.page, kind: clauseAny}] = struct{}{}
	}
}

func insert(rs []*rule, r *rule) []*rule {
	i, found := slices.BinarySearchFunc(rs, r.id, byID)
	if found {
		return rs
	}
	return slices.Insert(rs, i, r)
}

func remove(rs []*rule, r *rule) []*rule {
	i, found := slices.BinarySearchFunc(rs, r.id, byID)
	if !found {
		return rs
	}
	return slices.Delete(rs, i, i+1)
}

func byID(r *rule, id uint32) int { return cmp.Compare(r.id, id) }

// Chain returns the pages that hold rules over a subject class, in the order in
// which they are asked.
func (t *Table) Chain(class uint32) []uint32 {
	var chain []uint32
	for _, term := range t.classes[Subject][class] {
		for page := range t.byTerm[Subject][term] {
			chain = append(chain, page)
		}
	}
	slices.Sort(chain)
	return slices.Compact(chain)
}

// Entry returns the first page of a subject class's chain, zero if no rule has
// the class as a subject.
func (t *Table) Entry(class uint32) uint32 {
	if chain := t.emitted.chains[class]; len(chain) > 0 {
		return chain[0]
	}
	return 0
}

// Len returns how many rules there are.
func (t *Table) Len() int { return len(t.rules) }

// RuleID returns the conjunction id of a rule.
func (t *Table) RuleID(key string) (uint32, bool) {
	if r := t.rules[key]; r != nil {
		return r.id, true
	}
	return 0, false
}

// RuleKey returns the key of the rule with a conjunction id.
func (t *Table) RuleKey(id uint32) (string, bool) {
	if r := t.byID[id]; r != nil {
		return r.key, true
	}
	return "", false
}

// Matching yields the keys of the rules that match a connection: its source's
// or destination's subject class, the other side's peer and block classes, and
// a service. Protocols without ports have port zero. It is what the table's
// flows do, without a switch.
func (t *Table) Matching(subject, peer, block uint32, protocol uint8, port uint16) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, term := range t.classes[Subject][subject] {
			for _, page := range t.pagesOf(term) {
				for _, r := range t.byTerm[Subject][term][page] {
					if t.matchesPeer(r, peer, block) && r.matchesService(protocol, port) && !yield(r.key) {
						return
					}
				}
			}
		}
	}
}

func (t *Table) matchesPeer(r *rule, peer, block uint32) bool {
	if r.AnyPeer {
		return true
	}
	has := func(term uint32) bool { _, ok := slices.BinarySearch(r.Peers, term); return ok }
	return slices.ContainsFunc(t.classes[Peer][peer], has) || slices.ContainsFunc(t.classes[Block][block], has)
}

func (r *rule) matchesService(protocol uint8, port uint16) bool {
	return len(r.Services) == 0 || slices.ContainsFunc(r.Services, func(s Service) bool {
		return s.Protocol == protocol && port&s.Mask == s.Port
	})
}

// Flows yields all flows, in a fixed order. Changes must have been taken.
func (t *Table) Flows() iter.Seq[*ovs.Flow] {
	return func(yield func(*ovs.Flow) bool) {
		for _, c := range flow.SortedKeys(t.emitted.clauses, clauseLess) {
			if !yield(t.clauseFlow(c, t.actions(c))) {
				return
			}
		}
		for _, id := range flow.SortedKeys(t.emitted.rules, cmp.Less[uint32]) {
			if !yield(t.ruleFlow(id, t.emitted.rules[id], t.byID[id].cookie)) {
				return
			}
		}
		for _, class := range flow.SortedKeys(t.emitted.chains, cmp.Less[uint32]) {
			chain := t.emitted.chains[class]
			for i := 1; i < len(chain); i++ {
				if !yield(t.linkFlow(class, chain[i-1], chain[i])) {
					return
				}
			}
		}
	}
}
