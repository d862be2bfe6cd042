package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/flows"
)

// model accumulates deltas and says what they mean, in the plainest way.
type model struct {
	ports  map[string]flows.Port
	peers  map[netip.Addr]flows.Peer
	blocks [2]map[flows.Term]flows.Block
	rules  map[flows.RuleKey]flows.Rule
}

func newModel() *model {
	return &model{
		ports:  map[string]flows.Port{},
		peers:  map[netip.Addr]flows.Peer{},
		blocks: [2]map[flows.Term]flows.Block{{}, {}},
		rules:  map[flows.RuleKey]flows.Rule{},
	}
}

// apply takes in a delta. It fails if a change changes nothing or an object is
// named twice.
func (m *model) apply(d flows.Delta) error {
	seen := map[string]bool{}
	once := func(kind string, name any, noop bool) error {
		k := fmt.Sprintf("%s %v", kind, name)
		if seen[k] {
			return fmt.Errorf("%s is named twice", k)
		}
		if noop {
			return fmt.Errorf("%s is told but has not changed", k)
		}
		seen[k] = true
		return nil
	}
	if d.Node != nil {
		return fmt.Errorf("the node is told")
	}
	for _, c := range d.Ports {
		old, was := m.ports[c.Name]
		if err := once("port", c.Name, noop(was, old, c.Port)); err != nil {
			return err
		}
		assign(m.ports, c.Name, c.Port)
	}
	for _, c := range d.Peers {
		old, was := m.peers[c.Addr]
		if err := once("peer", c.Addr, noop(was, old, c.Peer)); err != nil {
			return err
		}
		assign(m.peers, c.Addr, c.Peer)
	}
	for _, c := range d.Blocks {
		old, was := m.blocks[c.Direction][c.Term]
		if err := once("block "+c.Direction.String(), c.Term, noop(was, old, c.Block)); err != nil {
			return err
		}
		assign(m.blocks[c.Direction], c.Term, c.Block)
	}
	for _, c := range d.Rules {
		old, was := m.rules[c.Key]
		if err := once("rule", c.Key, noop(was, old, c.Rule)); err != nil {
			return err
		}
		assign(m.rules, c.Key, c.Rule)
	}
	return m.sound()
}

func noop[V any](was bool, old V, now *V) bool {
	if now == nil {
		return !was
	}
	return was && reflect.DeepEqual(old, *now)
}

func assign[K comparable, V any](m map[K]V, k K, v *V) {
	if v == nil {
		delete(m, k)
	} else {
		m[k] = *v
	}
}

// sound checks what must hold of every state: rules have a subject on the node,
// and only terms that rules name are told.
func (m *model) sound() error {
	var subjects, peers [2]map[flows.Term]bool
	for _, d := range flows.Directions {
		subjects[d], peers[d] = map[flows.Term]bool{}, map[flows.Term]bool{}
	}
	for key, r := range m.rules {
		here := false
		for _, p := range m.ports {
			here = here || meets(r.Subjects, p.Subject[r.Direction].Terms)
		}
		if !here {
			return fmt.Errorf("rule %s has no subject on the node", key)
		}
		if r.AnyPeer == (len(r.Peers) > 0) {
			return fmt.Errorf("rule %s: any peer %v with peers %v", key, r.AnyPeer, r.Peers)
		}
		if err := canonical(r.Peers); err != nil {
			return fmt.Errorf("rule %s: peers: %v", key, err)
		}
		for _, t := range r.Subjects {
			subjects[r.Direction][t] = true
		}
		for _, t := range r.Peers {
			peers[r.Direction][t] = true
		}
	}
	for _, d := range flows.Directions {
		for name, p := range m.ports {
			if p.Pending && (len(p.Subject[d].Terms) > 0 || p.Subject[d].Isolated) {
				return fmt.Errorf("port %s is pending and a subject", name)
			}
			if err := named(p.Subject[d].Terms, subjects[d]); err != nil {
				return fmt.Errorf("port %s, %s: %v", name, d, err)
			}
		}
		for addr, p := range m.peers {
			if len(p.Terms[0])+len(p.Terms[1]) == 0 {
				return fmt.Errorf("peer %s has no terms", addr)
			}
			if err := named(p.Terms[d], peers[d]); err != nil {
				return fmt.Errorf("peer %s, %s: %v", addr, d, err)
			}
			for _, t := range p.Terms[d] {
				if _, both := m.blocks[d][t]; both {
					return fmt.Errorf("%s term %d is a block and a set of pods", d, t)
				}
			}
		}
		for t := range m.blocks[d] {
			if !peers[d][t] {
				return fmt.Errorf("%s block %d is named by no rule", d, t)
			}
		}
	}
	return nil
}

func named(terms []flows.Term, rules map[flows.Term]bool) error {
	if err := canonical(terms); err != nil {
		return err
	}
	for _, t := range terms {
		if !rules[t] {
			return fmt.Errorf("term %d is named by no rule", t)
		}
	}
	return nil
}

func canonical(terms []flows.Term) error {
	if !slices.IsSorted(terms) || len(slices.Compact(slices.Clone(terms))) != len(terms) {
		return fmt.Errorf("terms %v are not sorted or have duplicates", terms)
	}
	return nil
}

func meets(a, b []flows.Term) bool {
	return slices.ContainsFunc(a, func(t flows.Term) bool { return slices.Contains(b, t) })
}

// allowed says whether a new connection passes this node.
func (m *model) allowed(src, dst netip.Addr, proto uint8, port uint16) bool {
	if src == dst {
		return true
	}
	return m.side(flows.Egress, src, dst, proto, port) && m.side(flows.Ingress, dst, src, proto, port)
}

// side decides one direction of a connection at its subject.
func (m *model) side(d flows.Direction, subject, peer netip.Addr, proto uint8, port uint16) bool {
	for _, p := range m.ports {
		if !slices.Contains(p.Addrs, subject) {
			continue
		}
		if p.Pending {
			return false
		}
		if p.Subject[d].Isolated && !m.matched(d, p, peer, proto, port) {
			return false
		}
	}
	return true
}

func (m *model) matched(d flows.Direction, p flows.Port, peer netip.Addr, proto uint8, port uint16) bool {
	terms := slices.Clone(m.peers[peer].Terms[d])
	for t, b := range m.blocks[d] {
		if b.CIDR.Contains(peer) && !slices.ContainsFunc(b.Except, func(e netip.Prefix) bool { return e.Contains(peer) }) {
			terms = append(terms, t)
		}
	}
	for _, r := range m.rules {
		if r.Direction == d && meets(r.Subjects, p.Subject[d].Terms) &&
			(r.AnyPeer || meets(r.Peers, terms)) && (len(r.Services) == 0 || serves(r.Services, proto, port)) {
			return true
		}
	}
	return false
}

func serves(services []flows.Service, proto uint8, port uint16) bool {
	return slices.ContainsFunc(services, func(s flows.Service) bool {
		return s.Protocol == proto && (s.Port == 0 || s.Port <= port && port <= max(s.Port, s.EndPort))
	})
}

// dump writes the state with each term replaced by what it stands for, so that
// states can be compared whatever the handles are.
func (m *model) dump() string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m.ports)) {
		p := m.ports[name]
		fmt.Fprintf(&out, "port %s %d %s %v pending=%v isolated=%v,%v terms=%d,%d\n", name, p.OFPort, p.MAC, p.Addrs,
			p.Pending, p.Subject[0].Isolated, p.Subject[1].Isolated, len(p.Subject[0].Terms), len(p.Subject[1].Terms))
	}
	for _, a := range slices.SortedFunc(maps.Keys(m.peers), netip.Addr.Compare) {
		fmt.Fprintf(&out, "peer %s terms=%d,%d\n", a, len(m.peers[a].Terms[0]), len(m.peers[a].Terms[1]))
	}
	for _, key := range slices.Sorted(maps.Keys(m.rules)) {
		r := m.rules[key]
		fmt.Fprintf(&out, "rule %s %s any=%v %v subjects=%v peers=%v\n", key, r.Direction, r.AnyPeer, r.Services,
			extents(r.Subjects, func(t flows.Term) string { return m.subjectExtent(r.Direction, t) }),
			extents(r.Peers, func(t flows.Term) string { return m.peerExtent(r.Direction, t) }))
	}
	return out.String()
}

func extents(terms []flows.Term, of func(flows.Term) string) []string {
	var out []string
	for _, t := range terms {
		out = append(out, of(t))
	}
	slices.Sort(out)
	return out
}

func (m *model) subjectExtent(d flows.Direction, t flows.Term) string {
	var in []string
	for name, p := range m.ports {
		if slices.Contains(p.Subject[d].Terms, t) {
			in = append(in, name)
		}
	}
	slices.Sort(in)
	return strings.Join(in, "+")
}

func (m *model) peerExtent(d flows.Direction, t flows.Term) string {
	if b, ok := m.blocks[d][t]; ok {
		return fmt.Sprintf("%s-%v", b.CIDR, b.Except)
	}
	var in []string
	for a, p := range m.peers {
		if slices.Contains(p.Terms[d], t) {
			in = append(in, a.String())
		}
	}
	slices.Sort(in)
	return strings.Join(in, "+")
}
