package verdict

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// countInterval is how often the flows' counters are read. What a flow counts
// between the last reading and its end is not known.
const countInterval = 5 * time.Second

// counted are the flows of a table with the same cookie.
type counted struct {
	table  flows.Table
	cookie flows.Cookie
}

// counters add up what flows count over their lives.
type counters struct {
	mu      sync.Mutex
	started bool
	last    map[counted]uint64 // what they had counted when they were last read
	// denied and allowed are verdicts, offered those of allowed ones that the meter
	// was asked about.
	denied, allowed, offered uint64
}

// add enters one reading of all flows.
func (c *counters) add(read map[counted]uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, now := range read {
		n, was := now, c.last[key]
		switch {
		case !c.started:
			continue // of an earlier agent
		case n >= was:
			n -= was // else the flow is another one in the place of that
		}
		switch {
		case key.table == flows.TableDenied:
			c.denied += n
		case key.cookie.Kind() == flows.KindAllowed:
			c.offered += n // and counted once more by the flow that commits it
		default:
			c.allowed += n
		}
	}
	c.last, c.started = read, true
}

func (c *counters) begun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started
}

// read reads the counters of the tables in which verdicts end.
func (s *Stream) read(ctx context.Context) error {
	queries := []openflow.CounterQuery{{Table: uint8(flows.TableDenied)}, {Table: uint8(flows.TableCommit)}}
	read := map[counted]uint64{}
	err := s.cfg.Bridge.EachCounter(ctx, queries, func(c openflow.Counter) {
		read[counted{flows.Table(c.Table), flows.Cookie(c.Cookie)}] += c.Packets
	})
	if err != nil {
		return fmt.Errorf("read how many verdicts there were: %w", err)
	}
	s.counters.add(read)
	return nil
}

// count reads the counters from time to time.
func (s *Stream) count(ctx context.Context) {
	tick := time.NewTicker(countInterval)
	defer tick.Stop()
	for {
		// While the bridge is away nothing is counted. Where nothing can be told of, the
		// counters are read once, to know where they began, and when somebody asks.
		metered := false
		err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) { metered = v.Unmetered() == nil })
		if err == nil && (metered || !s.counters.begun()) {
			_ = s.read(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Status tells how complete the stream is.
func (s *Stream) Status(ctx context.Context) (api.WatchStatus, error) {
	var out api.WatchStatus
	err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		out.Allows = v.Pipeline().Watch().Allowed > 0
		if err := v.Unmetered(); err != nil {
			out.Problem = err.Error()
		}
	})
	if err != nil {
		return out, err
	}
	s.mu.Lock()
	out.Sampled, out.Readers = s.seq, len(s.readers)
	toldAllowed := s.allowed
	if s.offline != nil {
		out.Problem = s.offline.Error()
	}
	s.mu.Unlock()
	out.Lost = s.lost.Load()
	if err := s.read(ctx); err != nil {
		return out, err
	}
	c := &s.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	out.Denied, out.Allowed = c.denied, c.allowed
	// Apart: the flows for what is allowed may go before they are read once more, and
	// what they have told of then is more than they have counted.
	out.Missed = excess(c.denied, out.Sampled-toldAllowed) + excess(c.offered, toldAllowed)
	return out, nil
}

// excess is how much n is more than m, zero if it is not.
func excess(n, m uint64) uint64 { return max(n, m) - m }
