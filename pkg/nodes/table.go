package nodes

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Table is what is known of the cluster's nodes. It is safe for concurrent use.
type Table struct {
	mu     sync.Mutex
	nodes  map[string]*cluster.Node
	synced bool
}

// NewTable returns a table of no nodes.
func NewTable() *Table { return &Table{nodes: map[string]*cluster.Node{}} }

// Update enters what events say of nodes, and reports whether anything that
// counts is different now.
func (t *Table) Update(events []cluster.Event) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		if e.Synced && !t.synced {
			t.synced, changed = true, true
		}
		if e.Node == nil {
			continue
		}
		old := t.nodes[e.Node.Name]
		switch {
		case e.Deleted:
			delete(t.nodes, e.Node.Name)
			changed = changed || old != nil
		case old == nil || !equal(old, e.Node):
			t.nodes[e.Node.Name] = e.Node
			changed = true
		}
	}
	return changed
}

// equal compares what a plan and Addrs are made of.
func equal(a, b *cluster.Node) bool {
	return a.Created == b.Created && slices.Equal(a.PodCIDRs, b.PodCIDRs) && slices.Equal(a.Internal, b.Internal) && slices.Equal(a.Addrs, b.Addrs)
}

// Synced reports whether the table has heard of all nodes there were when the
// source of events began. Until then what is missing may only not be known yet.
func (t *Table) Synced() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.synced
}

// Node returns a node, nil if there is none of that name.
func (t *Table) Node(name string) *cluster.Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[name]
}

// Addrs returns the addresses of all nodes.
func (t *Table) Addrs() map[netip.Addr]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[netip.Addr]bool, len(t.nodes))
	for _, n := range t.nodes {
		for _, a := range n.Addrs {
			out[a] = true
		}
	}
	return out
}

// byAge lists the nodes, the oldest first. Those of the same age, as of manifests
// without one, are in the order of their names.
func (t *Table) byAge() []*cluster.Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*cluster.Node, 0, len(t.nodes))
	for _, n := range t.nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *cluster.Node) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// claims are ranges without overlap, each with its node, in the order of their
// addresses.
type claims []claim

type claim struct {
	cidr netip.Prefix
	node string
}

// add claims a range for a node, and returns whose range it overlaps instead if
// it does.
func (c *claims) add(cidr netip.Prefix, node string) (other claim, ok bool) {
	at, found := slices.BinarySearchFunc(*c, cidr, func(a claim, b netip.Prefix) int { return a.cidr.Addr().Compare(b.Addr()) })
	// Those that overlap it are next to its place: it begins within the one before,
	// or the one after begins within it.
	if found {
		return (*c)[at], false
	}
	if at > 0 && (*c)[at-1].cidr.Overlaps(cidr) {
		return (*c)[at-1], false
	}
	if at < len(*c) && (*c)[at].cidr.Overlaps(cidr) {
		return (*c)[at], false
	}
	*c = slices.Insert(*c, at, claim{cidr, node})
	return claim{}, true
}
