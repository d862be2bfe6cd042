package policy

import "github.com/sluice-cni/sluice/flows"

// handles gives out terms. A term that was given back is given out again, but
// not within the same delta: there it would mean two things.
type handles struct {
	last  flows.Term
	free  []flows.Term
	given []flows.Term
}

// take returns a term that is not in use.
func (h *handles) take() flows.Term {
	if n := len(h.free); n > 0 {
		t := h.free[n-1]
		h.free = h.free[:n-1]
		return t
	}
	h.last++
	return h.last
}

// give returns a term to the pool.
func (h *handles) give(t flows.Term) { h.given = append(h.given, t) }

// settle ends a delta.
func (h *handles) settle() {
	h.free = append(h.free, h.given...)
	h.given = h.given[:0]
}
