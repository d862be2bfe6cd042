package policy

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"pgregory.net/rapid"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// state is what a history has led to: the objects that stand.
type state struct {
	synced     bool
	pods       map[cluster.Key]*cluster.Pod
	namespaces map[string]*cluster.Namespace
	policies   map[cluster.Key]*networkingv1.NetworkPolicy
	ports      map[string]LocalPort
}

func newState() *state {
	return &state{
		pods:       map[cluster.Key]*cluster.Pod{},
		namespaces: map[string]*cluster.Namespace{},
		policies:   map[cluster.Key]*networkingv1.NetworkPolicy{},
		ports:      map[string]LocalPort{},
	}
}

// fresh returns what a compiler tells that is given the state all at once.
func (s *state) fresh() (*model, error) {
	c := New("n1")
	for _, k := range slices.SortedFunc(maps.Keys(s.policies), compareKeys) {
		c.Update(cluster.Event{Policy: s.policies[k]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.ports)) {
		c.SetPort(s.ports[name])
	}
	for _, p := range s.pods {
		c.Update(cluster.Event{Pod: p})
	}
	for _, ns := range s.namespaces {
		c.Update(cluster.Event{Namespace: ns})
	}
	if s.synced {
		c.Update(cluster.Event{Synced: true})
	}
	m := newModel()
	d, _ := c.Flush()
	return m, m.apply(d)
}

// edit makes one random change, tells it to compilers, and says what it was.
func (s *state) edit(t *rapid.T, to ...*Compiler) string {
	update := func(e cluster.Event) {
		for _, c := range to {
			c.Update(e)
		}
	}
	pick := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(t, label) }
	k := cluster.Key{Namespace: [...]string{"a", "b", "c"}[pick("namespace", 3)], Name: fmt.Sprint("p", pick("name", 3))}
	switch pick("kind", 12) {
	case 0:
		delete(s.pods, k)
		update(cluster.Event{Deleted: true, Pod: &cluster.Pod{Key: k}})
		return "pod gone " + k.String()
	case 1, 2, 3:
		p := drawPod(t, k)
		s.pods[k] = p
		update(cluster.Event{Pod: p})
		return fmt.Sprintf("pod %+v", *p)
	case 4:
		ns := &cluster.Namespace{Name: k.Namespace, Labels: drawLabels(t)}
		s.namespaces[ns.Name] = ns
		update(cluster.Event{Namespace: ns})
		return fmt.Sprintf("namespace %+v", *ns)
	case 5:
		delete(s.namespaces, k.Namespace)
		update(cluster.Event{Deleted: true, Namespace: &cluster.Namespace{Name: k.Namespace}})
		return "namespace gone " + k.Namespace
	case 6:
		delete(s.policies, k)
		np := &networkingv1.NetworkPolicy{}
		np.Namespace, np.Name = k.Namespace, k.Name
		update(cluster.Event{Deleted: true, Policy: np})
		return "policy gone " + k.String()
	case 7, 8:
		np := drawPolicy(t, k)
		s.policies[k] = np
		update(cluster.Event{Policy: np})
		return fmt.Sprintf("policy %s %+v", k, np.Spec)
	case 9, 10:
		n := pick("port", 4)
		p := LocalPort{Name: fmt.Sprint("sl", n), OFPort: uint32(n + 1), MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(n)},
			Addrs: podAddrs(n + 1), Pod: k, UID: [...]string{"", "u1", "u2"}[pick("uid", 3)]}
		s.ports[p.Name] = p
		for _, c := range to {
			c.SetPort(p)
		}
		return fmt.Sprintf("port %+v", p)
	default:
		if !s.synced {
			s.synced = true
			update(cluster.Event{Synced: true})
			return "synced"
		}
		name := fmt.Sprint("sl", pick("port", 4))
		delete(s.ports, name)
		for _, c := range to {
			c.DeletePort(name)
		}
		return "port gone " + name
	}
}

// TestIncrementalEqualsFromScratch makes random histories. Whatever way leads to
// a state, what has been told adds up to what a new compiler tells of it, and to
// what a naive reading of the policies says of every connection.
func TestIncrementalEqualsFromScratch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, c, m := newState(), New("n1"), newModel()
		var history []string
		for range rapid.IntRange(1, 25).Draw(t, "flushes") {
			for range rapid.IntRange(0, 4).Draw(t, "edits") {
				history = append(history, s.edit(t, c))
			}
			d, _ := c.Flush()
			history = append(history, fmt.Sprintf("flush %+v", d))
			if err := m.apply(d); err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(history, "\n"))
			}
			fresh, err := s.fresh()
			if err != nil {
				t.Fatalf("from scratch: %v", err)
			}
			if got, want := m.dump(), fresh.dump(); got != want {
				t.Fatalf("incremental:\n%s\nfrom scratch:\n%s\n%s", got, want, strings.Join(history, "\n"))
			}
			if err := balance(c); err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(history, "\n"))
			}
			if err := s.compare(m); err != nil {
				t.Fatalf("%v\n%s\n%s", err, m.dump(), strings.Join(history, "\n"))
			}
			if d, p := c.Flush(); !d.Empty() || len(p) > 0 {
				t.Fatalf("a second flush tells %+v, %v", d, p)
			}
		}
		s.empty(c)
		if d, _ := c.Flush(); m.apply(d) != nil || m.dump() != "" {
			t.Fatalf("with everything gone there is left:\n%s", m.dump())
		}
		if left := leftovers(c); left != "" {
			t.Fatalf("with everything gone the compiler holds %s\n%s", left, strings.Join(history, "\n"))
		}
	})
}

// TestSameHistorySameOutput checks that no order of maps shows in what is told.
func TestSameHistorySameOutput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newState()
		first, second := New("n1"), New("n1")
		for range rapid.IntRange(1, 6).Draw(t, "flushes") {
			for range rapid.IntRange(0, 40).Draw(t, "edits") {
				s.edit(t, first, second)
			}
			a, pa := first.Flush()
			b, pb := second.Flush()
			if !reflect.DeepEqual(a, b) || !reflect.DeepEqual(pa, pb) {
				t.Fatalf("told %+v %v\nand  %+v %v", a, pa, b, pb)
			}
		}
	})
}

// empty takes everything away.
func (s *state) empty(c *Compiler) {
	for k := range s.pods {
		c.Update(cluster.Event{Deleted: true, Pod: &cluster.Pod{Key: k}})
	}
	for name := range s.namespaces {
		c.Update(cluster.Event{Deleted: true, Namespace: &cluster.Namespace{Name: name}})
	}
	for k := range s.policies {
		np := &networkingv1.NetworkPolicy{}
		np.Namespace, np.Name = k.Namespace, k.Name
		c.Update(cluster.Event{Deleted: true, Policy: np})
	}
	for name := range s.ports {
		c.DeletePort(name)
	}
}

// leftovers says what a compiler that knows of nothing still holds.
func leftovers(c *Compiler) string {
	for what, n := range map[string]int{
		"pods": len(c.pods), "policies": len(c.policies), "specs": len(c.specs), "ports": len(c.ports),
		"attached": len(c.attached), "claims": len(c.claims), "claimants": len(c.claimants),
		"told ports": len(c.toldPorts), "told peers": len(c.toldPeers), "told rules": len(c.toldRules),
		"subjects": len(c.subjects.members) + len(c.subjects.scopes) + len(c.subjects.namespaces),
		"peers":    len(c.peers.members) + len(c.peers.scopes) + len(c.peers.namespaces),
		"blocks":   len(c.blocks[flows.Egress].byText) + len(c.blocks[flows.Ingress].byText),
	} {
		if n > 0 {
			return what
		}
	}
	for _, u := range []*universe{c.subjects, c.peers} {
		for d, h := range u.handles {
			if len(h.free) != int(h.last) {
				return fmt.Sprintf("handles of direction %d", d)
			}
		}
	}
	return ""
}

// universeAddrs are all addresses that states and policies speak of.
func universeAddrs() []netip.Addr {
	out := []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8::5")}
	for n := range 6 {
		out = append(out, podAddrs(n+1)...)
	}
	return out
}
