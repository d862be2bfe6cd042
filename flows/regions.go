package flows

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// regions cuts the address space along the CIDRs and excepts of all blocks of
// one direction. A region is what a prefix holds less the longer prefixes
// inside it; longest prefix match finds an address's region. The blocks that
// hold it are the region's terms, and regions with the same terms are one
// class.
type regions struct {
	tree   bart.Table[*region]
	blocks map[Term]Block
	// dirty are the prefixes whose region may have changed.
	dirty map[netip.Prefix]struct{}
}

type region struct {
	// starts and ends are the blocks whose CIDR the prefix is, and those which it
	// is an except of.
	starts, ends []Term
	class        uint32
	emitted      bool
}

func newRegions() *regions {
	return &regions{blocks: map[Term]Block{}, dirty: map[netip.Prefix]struct{}{}}
}

// set makes a term stand for a block, or for none, and reports whether it stood
// for one before.
func (r *regions) set(term Term, b *Block) (replaced bool) {
	old, replaced := r.blocks[term]
	if replaced {
		r.mark(old.CIDR)
		r.edit(old.CIDR, func(g *region) { g.starts = without(g.starts, term) })
		for _, e := range old.Except {
			r.edit(e, func(g *region) { g.ends = without(g.ends, term) })
		}
		delete(r.blocks, term)
	}
	if b == nil {
		return replaced
	}
	n := Block{CIDR: b.CIDR.Masked()}
	for _, e := range b.Except {
		n.Except = append(n.Except, e.Masked())
	}
	r.blocks[term] = n
	r.edit(n.CIDR, func(g *region) { g.starts = with(g.starts, term) })
	for _, e := range n.Except {
		r.edit(e, func(g *region) { g.ends = with(g.ends, term) })
	}
	r.mark(n.CIDR)
	return replaced
}

// mark makes every region inside a CIDR dirty: which blocks hold it may change.
func (r *regions) mark(cidr netip.Prefix) {
	for p := range r.tree.Subnets(cidr) {
		r.dirty[p] = struct{}{}
	}
}

func (r *regions) edit(p netip.Prefix, change func(*region)) {
	g, ok := r.tree.Get(p)
	if !ok {
		g = &region{}
		r.tree.Insert(p, g)
	}
	change(g)
	r.dirty[p] = struct{}{}
}

// terms returns the blocks that hold the region of a prefix of the tree: going
// from the shortest prefix down, a CIDR puts its block in and an except takes
// it out again.
func (r *regions) terms(p netip.Prefix) []Term {
	var path []*region
	for _, g := range r.tree.Supernets(p) {
		path = append(path, g)
	}
	var in []Term
	for _, g := range slices.Backward(path) { // Supernets goes from long to short
		for _, t := range g.starts {
			in = with(in, t)
		}
		for _, t := range g.ends {
			in = without(in, t)
		}
	}
	return in
}

// lookup returns the class of the region that an address lies in.
func (r *regions) lookup(a netip.Addr) uint32 {
	if g, ok := r.tree.Lookup(a); ok {
		return g.class
	}
	return 0
}

// with and without edit a sorted set of terms in place.
func with(ts []Term, t Term) []Term {
	i, found := slices.BinarySearch(ts, t)
	if found {
		return ts
	}
	return slices.Insert(ts, i, t)
}

func without(ts []Term, t Term) []Term {
	i, found := slices.BinarySearch(ts, t)
	if !found {
		return ts
	}
	return slices.Delete(ts, i, i+1)
}

// prefixLess orders prefixes by family, address and length.
func prefixLess(a, b netip.Prefix) bool {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c < 0
	}
	return a.Bits() < b.Bits()
}
