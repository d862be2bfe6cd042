package traffic

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ti-mo/conntrack"

	"github.com/sluice-cni/sluice/flows"
)

// Count is what connections have carried. It only grows.
type Count struct {
	// Connections is how many have begun.
	Connections uint64 `json:"connections"`
	// Packets and Bytes are those of both directions; bytes from the IP header on.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Rule is a rule by its conjunction id.
type Rule struct {
	Direction flows.Direction
	ID        uint32
}

// MarshalText implements encoding.TextMarshaler: "ingress/2693694212".
func (r Rule) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d/%d", r.Direction, r.ID), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rule) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), "%d/%d", &r.Direction, &r.ID); err != nil || r.Direction > flows.Ingress {
		return fmt.Errorf("%q is no rule", text)
	}
	return nil
}

// connection is an entry of the tracker that some rule has allowed.
type connection struct {
	Rules [2]uint32 `json:"rules"` // ids by direction, zero where none was needed
	// Packets and Bytes are accounted already.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	// missing is since when dumps do not have it.
	missing time.Time
}

// lostAfter is how long the event may be under way that an entry has ended, which
// dumps do not have any more. After that it is taken to be lost.
const lostAfter = time.Minute

// account is the books. Its key of connections is the entry's id (CTA_ID).
type account struct {
	rules map[Rule]*Count
	sums  [2]Count // of all rules of a direction
	live  map[uint32]*connection
	// ended are the entries that ended since the last dump: one that begins then may
	// still have them.
	ended map[uint32]struct{}
}

func newAccount() account {
	return account{rules: map[Rule]*Count{}, live: map[uint32]*connection{}, ended: map[uint32]struct{}{}}
}

// rulesOf returns the ids in an entry's label; false if it is none of ours.
func rulesOf(f *conntrack.Flow) (ids [2]uint32, ok bool) {
	if f.Zone != flows.ZoneIPv4 && f.Zone != flows.ZoneIPv6 || len(f.Labels) < 8 {
		return ids, false
	}
	// A label is bits in the machine's order, of which Open vSwitch sets whole words.
	ids[flows.Egress] = binary.NativeEndian.Uint32(f.Labels)
	ids[flows.Ingress] = binary.NativeEndian.Uint32(f.Labels[4:])
	return ids, ids != [2]uint32{}
}

// begin notes a connection. One that is known stays as it is.
func (a *account) begin(f *conntrack.Flow) *connection {
	ids, ok := rulesOf(f)
	if !ok {
		return nil
	}
	if c := a.live[f.ID]; c != nil {
		return c
	}
	c := &connection{Rules: ids}
	a.live[f.ID] = c
	a.each(c, func(n *Count) { n.Connections++ })
	return c
}

// each calls add with the totals that a connection belongs to.
func (a *account) each(c *connection, add func(*Count)) {
	for _, d := range flows.Directions {
		if c.Rules[d] == 0 {
			continue
		}
		r := Rule{d, c.Rules[d]}
		if a.rules[r] == nil {
			a.rules[r] = &Count{}
		}
		add(a.rules[r])
		add(&a.sums[d])
	}
}

// credit adds what a connection has counted since it was last looked at.
func (a *account) credit(c *connection, f *conntrack.Flow) {
	packets, bytes := f.CountersOrig.Packets+f.CountersReply.Packets, f.CountersOrig.Bytes+f.CountersReply.Bytes
	if packets < c.Packets || bytes < c.Bytes {
		return // the tracker has not counted this time, or somebody has set it back
	}
	a.each(c, func(n *Count) {
		n.Packets += packets - c.Packets
		n.Bytes += bytes - c.Bytes
	})
	c.Packets, c.Bytes = packets, bytes
}

// end takes a connection off the books.
func (a *account) end(f *conntrack.Flow) {
	c := a.live[f.ID]
	if c == nil {
		return
	}
	a.credit(c, f)
	delete(a.live, f.ID)
	a.ended[f.ID] = struct{}{}
}

// dumped takes over a dump of all entries. Events that came while it was made are
// told afterwards.
func (a *account) dumped(fs []conntrack.Flow, now time.Time) {
	there := make(map[uint32]struct{}, len(fs))
	for i := range fs {
		f := &fs[i]
		if _, ended := a.ended[f.ID]; ended {
			continue
		}
		if c := a.begin(f); c != nil {
			there[f.ID] = struct{}{}
			c.missing = time.Time{}
			a.credit(c, f)
		}
	}
	clear(a.ended)
	for id, c := range a.live {
		if _, ok := there[id]; ok {
			continue
		}
		switch {
		case c.missing.IsZero():
			c.missing = now
		case now.Sub(c.missing) > lostAfter:
			delete(a.live, id)
		}
	}
}
