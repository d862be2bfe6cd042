package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// block reads an ipBlock. Excepts must lie within the CIDR; one that equals it
// (which the API server refuses) leaves nothing.
func (p *parser) block(path string, in *networkingv1.IPBlock) (flows.Block, bool) {
	cidr, ok := p.prefix(path+".cidr", in.CIDR)
	out := flows.Block{CIDR: cidr}
	for i, text := range in.Except {
		field := index(path+".except", i)
		except, good := p.prefix(field, text)
		if good && ok && (!cidr.Contains(except.Addr()) || except.Bits() < cidr.Bits()) {
			p.report(field, "%s does not lie within %s", text, in.CIDR)
			good = false
		}
		ok = ok && good
		out.Except = append(out.Except, except)
	}
	slices.SortFunc(out.Except, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	out.Except = slices.Compact(out.Except)
	return out, ok
}

// prefix reads a CIDR.
func (p *parser) prefix(field, text string) (netip.Prefix, bool) {
	out, err := cluster.ParseCIDR(text)
	if err != nil {
		p.report(field, "%q is no CIDR: %v", text, err)
		return netip.Prefix{}, false
	}
	return out, true
}

// block is an ipBlock in use by rules of one direction.
type block struct {
	value  flows.Block
	handle flows.Term
	refs   int
	told   bool // whether the pipeline knows it
}

// blocks are the ipBlocks in use by rules of one direction.
type blocks struct {
	direction flows.Direction
	byText    map[string]*block
	dirty     []*block
}

// hold returns the block of that value, with a handle, and keeps it until drop.
func (b *blocks) hold(value flows.Block, h *handles) *block {
	text := blockText(value)
	out := b.byText[text]
	if out == nil {
		out = &block{value: value, handle: h.take()}
		b.byText[text] = out
		b.dirty = append(b.dirty, out)
	}
	out.refs++
	return out
}

// drop gives back what hold returned.
func (b *blocks) drop(out *block, h *handles) {
	if out.refs--; out.refs > 0 {
		return
	}
	delete(b.byText, blockText(out.value))
	h.give(out.handle)
	b.dirty = append(b.dirty, out)
}

// flush returns what has changed since the last flush.
func (b *blocks) flush() []flows.BlockChange {
	var out []flows.BlockChange
	for _, d := range b.dirty {
		switch used := d.refs > 0; {
		case used && !d.told:
			value := d.value
			out = append(out, flows.BlockChange{Direction: b.direction, Term: d.handle, Block: &value})
		case !used && d.told:
			out = append(out, flows.BlockChange{Direction: b.direction, Term: d.handle})
		}
		d.told = d.refs > 0
	}
	b.dirty = b.dirty[:0]
	slices.SortFunc(out, func(a, b flows.BlockChange) int { return cmp.Compare(a.Term, b.Term) })
	return out
}

// blockText returns a block as text, equal for equal blocks.
func blockText(b flows.Block) string {
	var out strings.Builder
	out.WriteString(b.CIDR.String())
	for i, e := range b.Except {
		if i == 0 {
			out.WriteString(" except ")
		} else {
			out.WriteString(", ")
		}
		out.WriteString(e.String())
	}
	return out.String()
}
