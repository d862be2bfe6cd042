package openflow

import (
	"fmt"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// MaxGroupBytes is the largest [Group.Size] that a switch takes and describes
// again. The group must fit into a message of 65,535 bytes, inside a bundle with
// 16 bytes around it and 24 of its own; all else has lengths of a multiple of 8.
// A bucket that sets a register, an IPv4 address and a port, and goes on to
// another table takes 80 bytes, so that 818 of them fit; with an IPv6 address it
// takes 88, and 743 fit.
//
// Open vSwitch 3.1 does not hold a group that grows by inserted buckets to this,
// and ovs-vswitchd ends when it is then asked for its groups: who inserts buckets
// has to look at the whole group's size first.
const MaxGroupBytes = 65488

// Size returns how many bytes the group's buckets and selection take in a
// message. It is an upper bound where an action is not known to package ofp, and
// exact for all others.
func (g *Group) Size() int {
	n := 0
	if s, err := encodeSelection(&g.Selection); err == nil {
		n = (&ofp.GroupDesc{Selection: s}).Len()
	} else {
		const property, field = 40, 24 // of the greatest field
		n = property + field*len(g.Selection.Fields)
	}
	for i := range g.Buckets {
		n += g.Buckets[i].size(g.Type == Select)
	}
	return n
}

// Size returns how many bytes the bucket takes of its select group's Size.
func (k *Bucket) Size() int { return k.size(true) }

func (k *Bucket) size(weighted bool) int {
	e := encoder{}
	if w, err := e.bucket(k, weighted); err == nil {
		return (&ofp.GroupDesc{Buckets: []ofp.Bucket{w}}).Len()
	}
	const header = 32 // a bucket with its weight, port and group properties
	return header + sizeBound(e.text)
}

// checkBuckets refuses a group of actions that can't be marshalled or done, or
// that is too large.
func checkBuckets(g *Group) error {
	var text []byte
	for i := range g.Buckets {
		var err error
		if text, err = appendCheckedActions(text[:0], g.Buckets[i].Actions); err == nil {
			err = checkBucketActions(string(text))
		}
		if err != nil {
			return fmt.Errorf("bucket %d: %w", g.Buckets[i].ID, err)
		}
	}
	return checkGroupSize(g.Size())
}

func checkGroupSize(n int) error {
	if n > MaxGroupBytes {
		return fmt.Errorf("buckets take up to %d bytes, of which a message holds %d", n, MaxGroupBytes)
	}
	return nil
}
