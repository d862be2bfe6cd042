package openflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// groupTypes are the types of groups in the order of their numbers.
var groupTypes = []GroupType{All, Select, Indirect, FastFailover}

// group returns the message that sets a group.
func (e *encoder) group(g *Group) (*ofp.GroupMod, error) {
	if err := g.validate(); err != nil {
		return nil, err
	}
	mod := &ofp.GroupMod{Command: ofp.GroupAddOrModify, Bucket: ofp.BucketAll}
	mod.ID = g.ID
	mod.GroupDesc.Type = ofp.GroupType(slices.Index(groupTypes, g.Type))
	var err error
	if mod.Buckets, err = e.buckets(g.Buckets, g.Type == Select); err != nil {
		return nil, err
	}
	if mod.Selection, err = encodeSelection(&g.Selection); err != nil {
		return nil, err
	}
	return mod, checkGroupSize(mod.Len())
}

// insertion returns the message that inserts buckets.
func (e *encoder) insertion(in *BucketInsertion) (*ofp.GroupMod, error) {
	if err := validateBuckets(in.Buckets); err != nil {
		return nil, err
	}
	mod := &ofp.GroupMod{Command: ofp.GroupInsertBucket, Bucket: ofp.BucketLast}
	if in.First {
		mod.Bucket = ofp.BucketFirst
	}
	mod.ID = in.Group
	var err error
	if mod.Buckets, err = e.buckets(in.Buckets, false); err != nil {
		return nil, err
	}
	return mod, checkGroupSize(mod.Len())
}

func (e *encoder) buckets(list []Bucket, weighted bool) ([]ofp.Bucket, error) {
	out := make([]ofp.Bucket, len(list))
	for i := range list {
		var err error
		if out[i], err = e.bucket(&list[i], weighted); err != nil {
			return nil, fmt.Errorf("bucket %d: %w", list[i].ID, err)
		}
	}
	return out, nil
}

func (e *encoder) bucket(k *Bucket, weighted bool) (ofp.Bucket, error) {
	w := ofp.Bucket{ID: k.ID, Weight: k.Weight, HasWeight: weighted || k.Weight != 0, WatchPort: ofp.PortAny, WatchGroup: ofp.NoGroup}
	if k.WatchPort != 0 {
		w.WatchPort = uint32(wireValue(fields["in_port_oxm"], u128{lo: uint64(k.WatchPort)}).Lo)
	}
	if k.WatchGroup != 0 {
		w.WatchGroup = k.WatchGroup
	}
	var err error
	if e.text, err = appendCheckedActions(e.text[:0], k.Actions); err != nil {
		return w, err
	}
	text := string(e.text)
	if err = checkBucketActions(text); err != nil {
		return w, err
	}
	w.Actions, err = encodeActions(text, false)
	return w, err
}

func encodeSelection(s *Selection) (*ofp.Selection, error) {
	if s.Method == "" {
		return nil, nil
	}
	w := &ofp.Selection{Method: s.Method, Param: s.Param}
	for _, text := range canonicalFields(s.Fields) {
		name, mask, masked := strings.Cut(text, "=")
		f := fields[name]
		wf, ok := toWire[f]
		if !ok {
			return nil, errUnencodable
		}
		v := ones(f.bits)
		if masked {
			if v, _, ok = f.parse(mask); !ok {
				return nil, errUnencodable
			}
		}
		// The mask goes where the value of a field goes elsewhere.
		w.Fields = append(w.Fields, ofp.OXM{Field: wf.Field, Value: ofp.Value{Hi: v.hi, Lo: v.lo}})
	}
	return w, nil
}

// decodeGroup returns a group as it was received, as ParseGroup returns one.
func decodeGroup(d *ofp.GroupDesc) (*Group, error) {
	if int(d.Type) >= len(groupTypes) {
		return nil, errUnencodable
	}
	g := &Group{ID: d.ID, Type: groupTypes[d.Type]}
	if s := d.Selection; s != nil {
		g.Selection.Method, g.Selection.Param = s.Method, s.Param
		for _, x := range s.Fields {
			f, value, _, err := decodeValue(x)
			if err != nil {
				return nil, err
			}
			text := f.name
			if value != ones(f.bits) {
				text = string(f.append([]byte(text+"="), value, ones(f.bits)))
			}
			g.Selection.Fields = append(g.Selection.Fields, text)
		}
	}
	for i := range d.Buckets {
		k, err := decodeBucket(&d.Buckets[i])
		if err != nil {
			return nil, err
		}
		if g.Type == Select && !d.Buckets[i].HasWeight {
			k.Weight = 1
		}
		g.Buckets = append(g.Buckets, k)
	}
	return g, nil
}

func decodeBucket(w *ofp.Bucket) (Bucket, error) {
	k := Bucket{ID: w.ID, Weight: w.Weight}
	if w.WatchPort != ofp.PortAny {
		k.WatchPort = uint32(textValue(fields["in_port_oxm"], ofp.Value{Lo: uint64(w.WatchPort)}).lo)
	}
	if w.WatchGroup != ofp.NoGroup {
		k.WatchGroup = w.WatchGroup
	}
	text, err := appendWireActions(nil, w.Actions)
	if err != nil {
		return k, err
	}
	for _, a := range splitList(string(text)) {
		k.Actions = append(k.Actions, RawAction(a))
	}
	if len(k.Actions) == 0 {
		k.Actions = []ovs.Action{RawAction("drop")}
	}
	return k, nil
}
