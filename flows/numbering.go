package flows

// numbering gives what has a key a number of its own for as long as somebody holds
// it. Numbers are never given twice in a pipeline's life: what the switch learned
// by itself may still name one.
type numbering[K comparable] struct {
	byKey map[K]*held
	byID  map[uint32]K
	next  uint32
	// restored are the numbers that a bridge's flows use, by the hash of a key.
	restored map[uint64]uint32
}

// held is a number with how many hold it.
type held struct {
	id   uint32
	refs int
}

func newNumbering[K comparable]() *numbering[K] {
	return &numbering[K]{byKey: map[K]*held{}, byID: map[uint32]K{}, restored: map[uint64]uint32{}}
}

// acquire counts one more holder of a key and reports whether it is the first.
// The hash names the key on the bridge.
func (n *numbering[K]) acquire(k K, hash uint64) (id uint32, first bool) {
	h := n.byKey[k]
	if h == nil {
		id := n.restored[hash]
		if _, taken := n.byID[id]; id == 0 || taken {
			n.next++
			id = n.next
		}
		h = &held{id: id}
		n.byKey[k], n.byID[id] = h, k
	}
	h.refs++
	return h.id, h.refs == 1
}

// release counts one holder less and reports whether it was the last.
func (n *numbering[K]) release(k K) (id uint32, last bool) {
	h := n.byKey[k]
	if h == nil {
		return 0, false
	}
	if h.refs--; h.refs > 0 {
		return h.id, false
	}
	delete(n.byKey, k)
	delete(n.byID, h.id)
	return h.id, true
}

// id returns the number of a key, zero if nobody holds it.
func (n *numbering[K]) id(k K) uint32 {
	if h := n.byKey[k]; h != nil {
		return h.id
	}
	return 0
}

// restore says that a bridge uses a number for the key with a hash.
func (n *numbering[K]) restore(hash uint64, id uint32) {
	if id != 0 {
		n.restored[hash] = id
		n.reserve(id)
	}
}

// reserve keeps a number from being given to a key it was not restored for.
func (n *numbering[K]) reserve(id uint32) { n.next = max(n.next, id) }
