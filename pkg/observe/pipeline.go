package observe

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

const (
	// countersAge is how old counters may be when they are told: however many ask,
	// the switch is asked once in that time.
	countersAge = time.Second
	// countersShare bounds what reading them may take of ovs-vswitchd's time: one
	// part of so many. With 100,000 flows they are older for it.
	countersShare = 50
	// countersTime bounds one reading.
	countersTime = 5 * time.Second
)

// Pipeline tells the tables of the bridge with their counters.
func (o *Observer) Pipeline(ctx context.Context) (api.Pipeline, error) {
	out := api.Pipeline{Tables: picture()}
	if o.cfg.Switch == nil {
		out.Time = time.Now()
		return out, nil
	}
	r, err := o.counters.read(ctx, o.cfg.Switch)
	if err != nil {
		return api.Pipeline{}, err
	}
	out.Time = r.at
	sums := r.Sums
	for i := range out.Tables {
		t := &out.Tables[i]
		for _, s := range r.Tables {
			if flows.Table(s.Table).String() == t.Name {
				t.Flows, t.Packets = s.Active, s.Lookups
			}
		}
		for j := range t.Objects {
			t.Objects[j].Flows, t.Objects[j].Packets = sums[0].Flows, sums[0].Packets
			sums = sums[1:]
		}
	}
	return out, nil
}

// picture is the pipeline without counters.
func picture() []api.Table {
	out := make([]api.Table, flows.NumTables)
	for i := range out {
		name := flows.Table(i).String()
		info := tableInfos[name]
		out[i] = api.Table{Name: name, Stage: info.stage, Job: info.job, Leads: append([]string{}, info.leads...), Drops: info.sink}
		for _, k := range info.kinds {
			out[i].Objects = append(out[i].Objects, api.ObjectCount{Kind: k.String()})
		}
		for _, k := range info.drops {
			out[i].Objects = append(out[i].Objects, api.ObjectCount{Kind: k.String(), Drops: true})
		}
	}
	return out
}

// queries are the flows whose counters are summed, in the order of picture.
func queries() []openflow.CounterQuery {
	var out []openflow.CounterQuery
	for t := range flows.NumTables {
		info := tableInfos[t.String()]
		for _, k := range slices.Concat(info.kinds, info.drops) {
			out = append(out, openflow.CounterQuery{
				Table: uint8(t), Cookie: uint64(flows.NewCookie(k, 0)), Mask: uint64(flows.NewCookie(^flows.Kind(0), 0)),
			})
		}
	}
	return out
}

// reading is counters and when they were read.
type reading struct {
	*openflow.Totals
	at time.Time
}

// counters keeps the last reading for those who ask soon after. Whoever has the
// turn reads; the others wait for what it gets.
type counters struct {
	turn chan struct{}

	mu   sync.Mutex
	last reading
	next time.Time // when the last reading is too old
}

func newCounters() *counters { return &counters{turn: make(chan struct{}, 1)} }

// fresh returns the last reading, if it is young enough.
func (c *counters) fresh() (reading, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, time.Now().Before(c.next)
}

func (c *counters) read(ctx context.Context, from *openflow.Bridge) (reading, error) {
	if r, ok := c.fresh(); ok {
		return r, nil
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return reading{}, context.Cause(ctx)
	}
	defer func() { <-c.turn }()
	if r, ok := c.fresh(); ok {
		return r, nil // read by another meanwhile
	}
	ctx, cancel := context.WithTimeout(ctx, countersTime)
	defer cancel()
	begin := time.Now()
	got, err := from.Totals(ctx, queries())
	if err != nil {
		return reading{}, err
	}
	r := reading{got, time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.next = r, r.at.Add(max(countersAge, countersShare*r.at.Sub(begin)))
	return r, nil
}
