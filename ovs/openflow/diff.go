package openflow

import (
	"iter"
	"slices"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Contents are the groups and flows that a bridge holds.
type Contents struct {
	Groups []*Group
	Flows  []*ovs.Flow
}

// Desired are the groups and flows that a bridge should hold.
type Desired struct {
	Groups iter.Seq[*Group]
	Flows  iter.Seq[*ovs.Flow]
	// Keep says of a standing flow that is not desired whether it stays all the
	// same, such as one that the switch has learned. Nil means that none does.
	Keep func(*ovs.Flow) bool
}

// Diff returns what turns the actual contents of a bridge into the desired ones:
// first the groups that are missing or other, then the flows as by the function
// Diff, and at last the groups that no flow goes to any more. A switch that takes
// it as one transaction always has the group of each flow, and no flow goes with
// a group that is deleted.
func (d Desired) Diff(actual Contents) *Transaction {
	t := DiffGroups(d.Groups, actual.Groups)
	t.Append(diffFlows(d.Flows, actual.Flows, d.Keep))
	return t
}

// Diff returns what turns the actual flows into the desired ones: it adds those
// that are missing or have another cookie, other actions or timeouts, and
// deletes those that are not desired. It is empty if there is nothing to do.
// Added flows are in the order of desired, deleted ones in the order of actual.
// Of desired flows with the same key the last one counts.
func Diff(desired iter.Seq[*ovs.Flow], actual []*ovs.Flow) *Transaction {
	return diffFlows(desired, actual, nil)
}

func diffFlows(desired iter.Seq[*ovs.Flow], actual []*ovs.Flow, keep func(*ovs.Flow) bool) *Transaction {
	standing := make(map[string]string, len(actual))
	keys := make([]string, len(actual))
	var key, text []byte
	for i, f := range actual {
		m := matchOf(f)
		key, text = appendKey(key[:0], f, m), appendText(text[:0], f, m)
		keys[i] = string(key)
		standing[keys[i]] = string(text)
	}
	t := &Transaction{}
	const stands = -1
	wanted := make(map[string]int, len(actual)) // key to place in t.Add
	for f := range desired {
		m := matchOf(f)
		key, text = appendKey(key[:0], f, m), appendText(text[:0], f, m)
		place, again := wanted[string(key)]
		switch {
		case again && place != stands:
			t.Add[place] = f
		case standing[string(key)] == string(text):
			wanted[string(key)] = stands
		default:
			wanted[string(key)] = len(t.Add)
			t.Add = append(t.Add, f)
		}
	}
	for i, f := range actual {
		if _, ok := wanted[keys[i]]; !ok && (keep == nil || !keep(f)) {
			t.Delete = append(t.Delete, f)
		}
	}
	return t
}

// DiffGroups returns what turns the actual groups into the desired ones.
func DiffGroups(desired iter.Seq[*Group], actual []*Group) *Transaction {
	standing := make(map[uint32]string, len(actual))
	for _, g := range actual {
		standing[g.ID] = g.String()
	}
	t := &Transaction{}
	wanted := make(map[uint32]bool, len(actual))
	for g := range desired {
		wanted[g.ID] = true
		if standing[g.ID] != g.String() {
			t.SetGroups = append(t.SetGroups, g)
		}
	}
	for _, g := range actual {
		if !wanted[g.ID] {
			t.DeleteGroups = append(t.DeleteGroups, g.ID)
		}
	}
	slices.Sort(t.DeleteGroups)
	return t
}

// Append adds the changes of another transaction to t.
func (t *Transaction) Append(o *Transaction) {
	t.SetGroups = append(t.SetGroups, o.SetGroups...)
	t.RemoveBuckets = append(t.RemoveBuckets, o.RemoveBuckets...)
	t.InsertBuckets = append(t.InsertBuckets, o.InsertBuckets...)
	t.Delete = append(t.Delete, o.Delete...)
	t.Add = append(t.Add, o.Add...)
	t.DeleteGroups = append(t.DeleteGroups, o.DeleteGroups...)
}
