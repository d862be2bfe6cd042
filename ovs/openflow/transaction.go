package openflow

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Transaction is a set of changes that a bridge takes as a whole. They are made
// in the order of the fields, so that a flow may refer to a group of the same
// transaction, and no group is deleted under a flow that still uses it.
type Transaction struct {
	// SetGroups creates groups, or replaces those with the same id.
	SetGroups []*Group
	// RemoveBuckets and InsertBuckets change some of a standing group's buckets and
	// leave the others alone. The group must not grow beyond MaxGroupBytes.
	RemoveBuckets []BucketRemoval
	InsertBuckets []BucketInsertion
	// Delete deletes the flows with exactly the table, priority and match of those
	// listed, if they are there. Their cookies and actions don't matter.
	Delete []*ovs.Flow
	// Add adds flows; a standing flow with the same table, priority and match is
	// replaced and keeps its counters.
	Add []*ovs.Flow
	// DeleteGroups deletes groups by id, if they are there. A switch deletes a
	// group's flows with it.
	DeleteGroups []uint32
}

// Len returns the number of changes.
func (t *Transaction) Len() int {
	return len(t.SetGroups) + len(t.RemoveBuckets) + len(t.InsertBuckets) + len(t.Delete) + len(t.Add) + len(t.DeleteGroups)
}

// Empty reports whether the transaction changes nothing.
func (t *Transaction) Empty() bool { return t.Len() == 0 }

// String renders the transaction as `ovs-ofctl bundle` reads it, one change a
// line. Changes that can't be rendered are left out; Commit refuses them.
func (t *Transaction) String() string {
	b := bundle{}
	for i := range t.Len() {
		_ = b.add(t.change(i))
	}
	return string(b.text)
}

// change is one line of a bundle: a command and what it is about.
type change struct {
	command string
	flow    *ovs.Flow
	group   *Group
	args    string
}

// The commands of a bundle, as `ovs-ofctl bundle` reads them.
const (
	addFlow      = "flow add "
	deleteFlow   = "flow delete_strict "
	setGroup     = "group add_or_mod "
	removeBucket = "group remove_bucket "
	insertBucket = "group insert_bucket "
	deleteGroup  = "group delete "
)

// change returns the i-th change, in the order in which they are made.
func (t *Transaction) change(i int) change {
	if i < len(t.SetGroups) {
		return change{command: setGroup, group: t.SetGroups[i]}
	}
	i -= len(t.SetGroups)
	if i < len(t.RemoveBuckets) {
		return change{command: removeBucket, args: t.RemoveBuckets[i].args()}
	}
	i -= len(t.RemoveBuckets)
	if i < len(t.InsertBuckets) {
		in := t.InsertBuckets[i]
		return change{command: insertBucket, args: in.args(), group: &Group{ID: in.Group, Buckets: in.Buckets}}
	}
	i -= len(t.InsertBuckets)
	if i < len(t.Delete) {
		return change{command: deleteFlow, flow: t.Delete[i]}
	}
	i -= len(t.Delete)
	if i < len(t.Add) {
		return change{command: addFlow, flow: t.Add[i]}
	}
	i -= len(t.Add)
	return change{command: deleteGroup, args: "group_id=" + strconv.FormatUint(uint64(t.DeleteGroups[i]), 10)}
}

// bundle is a transaction rendered line by line.
type bundle struct {
	text  []byte
	start []int // of each line in text
}

// line returns the i-th line, without its end.
func (b *bundle) line(i int) string {
	return strings.TrimSuffix(string(b.text[b.start[i]:b.end(i)]), "\n")
}

// end returns where the i-th line ends in text.
func (b *bundle) end(i int) int {
	if i+1 < len(b.start) {
		return b.start[i+1]
	}
	return len(b.text)
}

// add renders a change. On an error the line is not part of the bundle.
func (b *bundle) add(c change) error {
	mark := len(b.text)
	b.text = append(b.text, c.command...)
	body := len(b.text)
	var err error
	switch c.command {
	case addFlow, deleteFlow:
		b.text, err = appendWire(b.text, c.flow, c.command == deleteFlow)
	case setGroup:
		if err = c.group.validate(); err == nil {
			err = checkBuckets(c.group)
		}
		b.text = c.group.append(b.text)
	case insertBucket:
		if err = validateBuckets(c.group.Buckets); err == nil {
			err = checkBuckets(c.group)
		}
		b.text = appendBuckets(append(b.text, c.args...), c.group.Buckets)
	default:
		b.text = append(b.text, c.args...)
	}
	if err == nil {
		err = oneLine(b.text[body:])
	}
	if err != nil {
		b.text = b.text[:mark]
		return err
	}
	b.text = append(b.text, '\n')
	b.start = append(b.start, mark)
	return nil
}

// oneLine refuses text that ovs-ofctl would read as something else than one
// line: a line end starts another change, a # a comment.
func oneLine(b []byte) error {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == '#' || c == 0x7f {
			return fmt.Errorf("character %q is not allowed", c)
		}
	}
	return nil
}

var errTable = errors.New("field table is not 0 to 254")

// appendWire appends a flow as it is sent.
func appendWire(b []byte, f *ovs.Flow, deletes bool) ([]byte, error) {
	m, err := checkedMatch(f)
	if err != nil {
		return b, err
	}
	if deletes {
		return appendKey(b, f, m), nil
	}
	return appendSendable(appendHead(b, f, m), f.Actions)
}

// checkedMatch returns the match of a flow, once its head is known to mean what
// it says: ovs-ofctl takes a match that lacks a prerequisite for a wider one.
func checkedMatch(f *ovs.Flow) (*match, error) {
	if f == nil {
		return nil, errors.New("flow is nil")
	}
	if f.Table < 0 || f.Table > 254 {
		return nil, errTable
	}
	if f.Priority < 0 || f.Priority > 65535 {
		return nil, errors.New("field priority is not 0 to 65535")
	}
	if f.IdleTimeout < 0 || f.IdleTimeout > 65535 {
		return nil, errors.New("field idle_timeout is not 0 to 65535")
	}
	m := matchOf(f)
	if len(m.problems) > 0 {
		return nil, errors.New(strings.Join(m.problems, "; "))
	}
	return m, nil
}

// appendSendable appends actions, once they are known to fit into a message.
func appendSendable(b []byte, actions []ovs.Action) ([]byte, error) {
	start := len(b)
	b, err := appendCheckedActions(b, actions)
	if err == nil {
		err = checkSize(b[start:])
	}
	return b, err
}
