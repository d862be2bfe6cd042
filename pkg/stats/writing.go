package stats

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// maxExact is how many slots are read one by one before a bundle. More are read
// all at once: a request costs what some hundred flows of a dump cost.
const maxExact = 16

// Writing implements enforce.Counters. It costs a round trip only if counters are
// about to be lost, or to go from one kind of flow to another.
func (c *Collector) Writing(ctx context.Context, v enforce.View, tx *openflow.Transaction) func(error) {
	gone, come := map[slotID]bool{}, map[slotID]*flows.Flow{}
	for _, f := range tx.Delete {
		if k := flows.Cookie(f.Cookie); counted[k.Kind()] {
			gone[idOf(k)] = true
		}
	}
	for _, f := range tx.Add {
		if k := flows.Cookie(f.Cookie); counted[k.Kind()] {
			come[idOf(k)] = f
		}
	}
	if len(gone) == 0 && len(come) == 0 {
		return func(error) {}
	}
	c.lastReading(ctx, v, gone, come)
	return func(err error) { c.written(v, gone, come, err) }
}

// lastReading reads what is about to be lost, and notes which slots a reading
// under way must leave alone.
func (c *Collector) lastReading(ctx context.Context, v enforce.View, gone map[slotID]bool, come map[slotID]*flows.Flow) {
	c.mu.Lock()
	c.seq++
	for id := range gone {
		c.touched[id] = c.seq
	}
	var ids []slotID
	for id := range gone {
		if c.slots[id] != nil {
			ids = append(ids, id)
		}
	}
	for id, f := range come {
		c.touched[id] = c.seq
		if s := c.slots[id]; s != nil && s.Kind != flows.Cookie(f.Cookie).Kind() && !gone[id] {
			ids = append(ids, id)
		}
	}
	known := c.known
	c.mu.Unlock()
	if known && len(ids) == 0 {
		return
	}
	all := !known || len(ids) > maxExact
	queries := allQueries
	if !all {
		queries = nil
		for _, id := range ids {
			queries = append(queries, queriesOf(id)...)
		}
	}
	r, err := c.readCounters(ctx, queries)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		klog.FromContext(ctx).V(2).Info("Could not read the counters of flows that go", "err", err)
		c.known = false
	case all:
		c.floor = c.seq
		clear(c.touched)
		c.apply(v, r, c.seq)
	case r.generation != c.generation:
		c.known = false
	default:
		ports, now := portNames(v), time.Now()
		for id, n := range r.slots {
			c.take(v, id, n, ports, now)
		}
	}
}

// written ends the slots of flows that are gone and begins those of new ones.
func (c *Collector) written(v enforce.View, gone map[slotID]bool, come map[slotID]*flows.Flow, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.known = false // the bridge may hold either
		return
	}
	now := time.Now()
	ports := portNames(v)
	for id := range gone {
		c.close(id, now)
	}
	for id, f := range come {
		s := c.slots[id]
		if s == nil {
			s = describe(v, flows.Cookie(f.Cookie), flows.RuleIDOf(f), ports)
			c.slots[id] = s
			c.changed = true
		}
		s.Kind = flows.Cookie(f.Cookie).Kind()
		c.open(s, now)
	}
	if len(gone) > 0 {
		select {
		case c.saving <- struct{}{}:
		default:
		}
	}
}
