package openflow

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/sluice-cni/sluice/ovs/openflow/channel"
	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// AllTables, as a CounterQuery's Table, asks all tables.
const AllTables = ofp.AllTables

// CounterQuery selects flows by table and cookie.
type CounterQuery struct {
	// Table is a table's number, or AllTables.
	Table uint8
	// Cookie is that of the flows, of which the bits in Mask count. With all of them
	// set the switch finds the flows by an index, else it looks at all of the table.
	Cookie, Mask uint64
}

// Counter is what a flow has counted.
type Counter struct {
	Table  uint8
	Cookie uint64
	// ConjID is the conj_id that the flow matches, zero if none.
	ConjID uint32
	// Packets lag behind what the datapath's cache has handled by up to a round of
	// the revalidators (ovs-vswitchd.conf.db(5), max-revalidator: 500 ms). A flow
	// that replaces another of the same match goes on counting from there.
	Packets, Bytes uint64
	// Age is how long the flow has stood since it was added or replaced.
	Age time.Duration
}

var conjID = ofp.FieldNamed("NXM_NX_CONJ_ID")

// EachCounter calls fn for the counters of the flows that each query selects, a
// query after the other. Flows that two queries select come twice. It costs a
// fraction of a dump: actions are not looked at.
func (b *Bridge) EachCounter(ctx context.Context, queries []CounterQuery, fn func(Counter)) error {
	for _, q := range queries {
		var err error
		if b.native != nil {
			if err = b.native.eachCounter(ctx, q, fn); err == nil {
				continue
			}
		}
		if b.native == nil || leave(err) {
			err = b.dumpCounters(ctx, q, fn)
		}
		if err != nil {
			return fmt.Errorf("read counters of %s: %w", b.target, err)
		}
	}
	return nil
}

// eachCounter calls fn when it is known that all flows can be read.
func (n *native) eachCounter(ctx context.Context, q CounterQuery, fn func(Counter)) error {
	var counters []Counter
	err := n.channel.Use(ctx, func(c *channel.Conn) error {
		return c.Each(ctx, &ofp.FlowRequest{Table: q.Table, Cookie: q.Cookie, CookieMask: q.Mask}, func(m ofp.Message) error {
			part, ok := m.(*ofp.FlowReply)
			if !ok {
				return errUnencodable
			}
			for i := range part.Flows {
				f := &part.Flows[i]
				counters = append(counters, Counter{
					Table: f.Table, Cookie: f.Cookie, ConjID: uint32(f.Match.Value(conjID).Lo),
					Packets: f.Stats.Packets, Bytes: f.Stats.Bytes, Age: f.Stats.Duration,
				})
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, c := range counters {
		fn(c)
	}
	return nil
}

// dumpCounters asks ovs-ofctl, which is not asked for the flows' age.
func (b *Bridge) dumpCounters(ctx context.Context, q CounterQuery, fn func(Counter)) error {
	match := fmt.Sprintf("cookie=%#x/%#x", q.Cookie, q.Mask)
	if q.Table != AllTables {
		match += fmt.Sprintf(",table=%d", q.Table)
	}
	return b.EachFlow(ctx, DumpOptions{Match: match, Stats: true}, func(f *ovs.Flow) error {
		c := Counter{Table: uint8(f.Table), Cookie: f.Cookie, Packets: f.Stats.PacketCount, Bytes: f.Stats.ByteCount}
		for _, m := range f.Matches {
			text, err := m.MarshalText()
			if err != nil {
				continue
			}
			if v, ok := strings.CutPrefix(string(text), "conj_id="); ok {
				id, err := strconv.ParseUint(v, 0, 32)
				if err != nil {
					return fmt.Errorf("conj_id %q: %w", v, err)
				}
				c.ConjID = uint32(id)
			}
		}
		fn(c)
		return nil
	})
}

// FlowsByTable returns how many flows each table holds that holds some. It is for
// bridges that are spoken to natively; others return nil.
func (b *Bridge) FlowsByTable(ctx context.Context) (map[uint8]int, error) {
	if b.native == nil {
		return nil, nil
	}
	out := map[uint8]int{}
	err := b.native.channel.Use(ctx, func(c *channel.Conn) error {
		return c.Each(ctx, ofp.TableRequest{}, func(m ofp.Message) error {
			part, ok := m.(*ofp.TableReply)
			if !ok {
				return fmt.Errorf("a %T answers", m)
			}
			for _, t := range part.Tables {
				if t.Active > 0 {
					out[t.Table] = int(t.Active)
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("count flows of %s: %w", b.target, err)
	}
	return out, nil
}
