package flows

import (
	"encoding/binary"
	"slices"
)

// classes numbers sets of terms. Everything that the same terms select is one
// class: for subjects and peers that is an identity, for blocks a region's
// membership. Zero is the class of the empty set and has no flows.
type classes struct {
	byTerms map[string]*class
	byID    map[uint32]*class
	next    uint32
	free    []uint32 // numbers given back, used again last come first
	// changed are the classes that came or went since they were last taken.
	changed map[uint32]struct{}
}

type class struct {
	id    uint32
	terms []Term
	refs  int
}

func newClasses() *classes {
	return &classes{byTerms: map[string]*class{}, byID: map[uint32]*class{}, changed: map[uint32]struct{}{}}
}

func termsKey(terms []Term) string {
	b := make([]byte, 4*len(terms))
	for i, t := range terms {
		binary.BigEndian.PutUint32(b[4*i:], uint32(t))
	}
	return string(b)
}

// acquire returns the number of a set of terms and counts one more member. A
// set that has none yet gets the preferred number if that is free.
func (c *classes) acquire(terms []Term, prefer uint32) uint32 {
	if len(terms) == 0 {
		return 0
	}
	key := termsKey(terms)
	k := c.byTerms[key]
	if k == nil {
		k = &class{id: c.number(prefer), terms: slices.Clone(terms)}
		c.byTerms[key], c.byID[k.id] = k, k
		c.changed[k.id] = struct{}{}
	}
	k.refs++
	return k.id
}

// number returns a free number.
func (c *classes) number(prefer uint32) uint32 {
	if _, taken := c.byID[prefer]; prefer != 0 && !taken {
		return prefer
	}
	for len(c.free) > 0 {
		n := c.free[len(c.free)-1]
		c.free = c.free[:len(c.free)-1]
		if _, taken := c.byID[n]; !taken {
			return n
		}
	}
	for {
		c.next++
		if _, taken := c.byID[c.next]; !taken {
			return c.next
		}
	}
}

// release counts one member less.
func (c *classes) release(id uint32) {
	k := c.byID[id]
	if k == nil {
		return
	}
	if k.refs--; k.refs == 0 {
		delete(c.byTerms, termsKey(k.terms))
		delete(c.byID, id)
		c.free = append(c.free, id)
		c.changed[id] = struct{}{}
	}
}

// terms returns the terms of a class, nil if there is none of that number.
func (c *classes) terms(id uint32) []uint32 {
	k := c.byID[id]
	if k == nil {
		return nil
	}
	out := make([]uint32, len(k.terms))
	for i, t := range k.terms {
		out[i] = uint32(t)
	}
	return out
}

// reserve keeps numbers up to n from being given to sets that do not prefer
// them.
func (c *classes) reserve(n uint32) { c.next = max(c.next, n) }
