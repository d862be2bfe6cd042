package openflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-cni/sluice/ovs/openflow/channel"
	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// Sum is what flows have counted together.
type Sum struct {
	Packets, Bytes uint64
	// Flows is how many they are.
	Flows uint32
}

// Totals are a bridge's counters at one time. Packets that the datapath
// forwards by itself are counted as ovs-vswitchd hears of them, twice a second.
type Totals struct {
	// Tables are those of the tables that hold flows.
	Tables []ofp.TableStats
	// Sums are those of the queries, in their order.
	Sums []Sum
}

// Counters reads the counters of the bridge's tables, and sums those of selected
// flows. The switch looks at each flow of a set's table, but sends only the
// sum. It is asked over a connection of this process whatever Config.Native says.
func (b *Bridge) Totals(ctx context.Context, queries []CounterQuery) (*Totals, error) {
	if b.asked == nil {
		return nil, fmt.Errorf("totals of %s: can't be asked over a connection", b.target)
	}
	out := &Totals{}
	err := b.asked.Use(ctx, func(c *channel.Conn) error {
		if err := c.Each(ctx, ofp.TableRequest{}, out.addTables); err != nil {
			return err
		}
		for _, s := range queries {
			q := &ofp.AggregateRequest{Table: s.Table, Cookie: s.Cookie, CookieMask: s.Mask}
			if err := c.Each(ctx, q, out.addSum); err != nil {
				return fmt.Errorf("sum of cookie %#x/%#x in table %d: %w", s.Cookie, s.Mask, s.Table, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("totals of %s: %w", b.target, err)
	}
	return out, nil
}

var errAnswer = errors.New("the answer is none to the question")

func (o *Totals) addTables(m ofp.Message) error {
	part, ok := m.(*ofp.TableReply)
	if !ok {
		return errAnswer
	}
	for _, t := range part.Tables {
		if t.Active > 0 {
			o.Tables = append(o.Tables, t)
		}
	}
	return nil
}

func (o *Totals) addSum(m ofp.Message) error {
	a, ok := m.(*ofp.AggregateReply)
	if !ok {
		return errAnswer
	}
	o.Sums = append(o.Sums, Sum{a.Packets, a.Bytes, a.Flows})
	return nil
}
