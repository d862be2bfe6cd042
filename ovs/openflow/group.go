package openflow

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// GroupType says which buckets of a group a packet goes through.
type GroupType string

// The types of groups (OpenFlow 1.5.1, section 5.10.1).
const (
	// All: a copy of the packet goes through each bucket.
	All GroupType = "all"
	// Select: one bucket, chosen by Selection and the weights.
	Select GroupType = "select"
	// Indirect: the only bucket there is.
	Indirect GroupType = "indirect"
	// FastFailover: the first live bucket.
	FastFailover GroupType = "ff"
)

// MaxGroupID is the highest id a group can have; those above are reserved.
const MaxGroupID = 0xffffff00

// MaxBucketID is the highest id a bucket can have; those above are reserved.
const MaxBucketID = 0xffffff00

// Group is an entry of a bridge's group table.
type Group struct {
	// ID is 0 to MaxGroupID.
	ID   uint32
	Type GroupType
	// Selection is how a Select group chooses; its zero value leaves it to OVS,
	// which uses dp_hash where it can.
	Selection Selection
	Buckets   []Bucket
}

// Selection is the selection method of a Select group (ovs-ofctl(8), Group
// Syntax).
type Selection struct {
	// Method is "hash", "dp_hash" or empty for the default.
	Method string
	// Param is the hash basis, and for dp_hash the algorithm in its upper 32 bits.
	Param uint64
	// Fields are what "hash" hashes over, each "field" or "field=mask"; empty
	// means the default 5-tuple.
	Fields []string
}

// Bucket is one way through a group.
type Bucket struct {
	// ID is 0 to MaxBucketID, unique in its group. It is always said: what the
	// switch would choose by itself could not be compared.
	ID uint32
	// Weight is the share of the packets of a Select group, relative to the other
	// buckets; with zero the bucket gets none. Zero in other types.
	Weight uint16
	// WatchPort is the port whose link decides whether the bucket is live; zero
	// means none.
	WatchPort uint32
	// WatchGroup is the group that decides whether the bucket is live; zero means
	// none.
	WatchGroup uint32
	// Actions are what a packet goes through; none drops it.
	Actions []ovs.Action
}

// BucketInsertion adds buckets to a standing group.
type BucketInsertion struct {
	Group   uint32
	Buckets []Bucket
	// First puts them before the standing ones instead of after them.
	First bool
}

// BucketRemoval takes one bucket from a standing group.
type BucketRemoval struct {
	Group, Bucket uint32
}

func (r BucketRemoval) args() string {
	return fmt.Sprintf("group_id=%d,command_bucket_id=%d", r.Group, r.Bucket)
}

func (i BucketInsertion) args() string {
	where := "last"
	if i.First {
		where = "first"
	}
	return fmt.Sprintf("group_id=%d,command_bucket_id=%s", i.Group, where)
}

// String returns the group in canonical spelling: equal for a group as it was
// set and as it is dumped; ovs-ofctl reads it.
func (g *Group) String() string { return string(g.append(nil)) }

func (g *Group) append(b []byte) []byte {
	if g == nil {
		return b
	}
	b = strconv.AppendUint(append(b, "group_id="...), uint64(g.ID), 10)
	b = append(append(b, ",type="...), g.Type...)
	if s := &g.Selection; s.Method != "" {
		b = append(append(b, ",selection_method="...), s.Method...)
		if s.Param != 0 {
			b = strconv.AppendUint(append(b, ",selection_method_param="...), s.Param, 10)
		}
		if len(s.Fields) > 0 {
			b = append(append(append(b, ",fields("...), strings.Join(canonicalFields(s.Fields), ",")...), ')')
		}
	}
	if g.Type == Select {
		return appendWeighted(b, g.Buckets)
	}
	return appendBuckets(b, g.Buckets)
}

// appendWeighted appends the buckets of a select group, which always have a
// weight: left out, it would be one.
func appendWeighted(b []byte, buckets []Bucket) []byte {
	for i := range buckets {
		b = buckets[i].append(b, true)
	}
	return b
}

// appendBuckets appends buckets whose group may be of any type.
func appendBuckets(b []byte, buckets []Bucket) []byte {
	for i := range buckets {
		b = buckets[i].append(b, buckets[i].Weight != 0)
	}
	return b
}

func (k *Bucket) append(b []byte, weighted bool) []byte {
	b = strconv.AppendUint(append(b, ",bucket=bucket_id:"...), uint64(k.ID), 10)
	if weighted {
		b = strconv.AppendUint(append(b, ",weight:"...), uint64(k.Weight), 10)
	}
	if k.WatchPort != 0 {
		b = appendPort(append(b, ",watch_port:"...), uint64(k.WatchPort))
	}
	if k.WatchGroup != 0 {
		b = strconv.AppendUint(append(b, ",watch_group:"...), uint64(k.WatchGroup), 10)
	}
	return appendActions(append(b, ",actions="...), k.Actions)
}

// canonicalFields returns the fields of a selection by the names and masks of a
// dump, sorted.
func canonicalFields(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		name, mask, masked := strings.Cut(s, "=")
		f := lookField(strings.TrimSpace(name))
		if f == nil {
			out = append(out, s)
			continue
		}
		text := f.name
		if masked {
			v, full, ok := f.parse(strings.TrimSpace(mask))
			if !ok {
				out = append(out, text+"="+mask)
				continue
			}
			if v != ones(f.bits) {
				text = string(f.append([]byte(text+"="), v, full))
			}
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

func (g *Group) validate() error {
	if g == nil {
		return errors.New("group is nil")
	}
	if g.ID > MaxGroupID {
		return errors.New("field group_id is above MaxGroupID")
	}
	switch g.Type {
	case All, Select, Indirect, FastFailover:
	default:
		return fmt.Errorf("field type %q is not all, select, indirect or ff", g.Type)
	}
	switch g.Selection.Method {
	case "", "hash", "dp_hash":
	default:
		return fmt.Errorf("field selection_method %q is not hash or dp_hash", g.Selection.Method)
	}
	if g.Type != Select && g.Selection.Method != "" {
		return errors.New("field selection_method is for select groups only")
	}
	if g.Selection.Method == "" && (g.Selection.Param != 0 || len(g.Selection.Fields) > 0) {
		return errors.New("field selection_method is empty, but its parameters are not")
	}
	if g.Type == Indirect && len(g.Buckets) != 1 {
		return fmt.Errorf("an indirect group has 1 bucket, not %d", len(g.Buckets))
	}
	if g.Type != Select {
		for i := range g.Buckets {
			if g.Buckets[i].Weight != 0 {
				return fmt.Errorf("bucket %d: field weight is for select groups only", g.Buckets[i].ID)
			}
		}
	}
	return validateBuckets(g.Buckets)
}

// validateBuckets checks all but the actions and the size of buckets.
func validateBuckets(buckets []Bucket) error {
	seen := make(map[uint32]bool, len(buckets))
	for i := range buckets {
		k := &buckets[i]
		if k.ID > MaxBucketID {
			return fmt.Errorf("bucket %d: field bucket_id is above MaxBucketID", k.ID)
		}
		if seen[k.ID] {
			return fmt.Errorf("bucket %d: field bucket_id stands twice", k.ID)
		}
		seen[k.ID] = true
	}
	return nil
}
