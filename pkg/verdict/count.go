package verdict

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// countInterval is how often the flows' counters are read. What a flow counts
// between the last reading and its end is not known.
const countInterval = 5 * time.Second

// counters add up what flows count over their lives.
type counters struct {
	mu      sync.Mutex
	started bool
	last    map[string]uint64 // what a flow had counted when it was last read
	// denied and allowed are verdicts, offered those of allowed ones that the meter
	// was asked about.
	denied, allowed, offered uint64
}

// add enters one reading of all flows.
func (c *counters) add(read map[string]flowCount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := make(map[string]uint64, len(read))
	for key, f := range read {
		n := f.packets
		last[key] = n
		switch was := c.last[key]; {
		case !c.started:
			continue // of an earlier agent
		case n >= was:
			n -= was // else the flow is another one of the same name
		}
		switch f.kind {
		case countDenied:
			c.denied += n
		case countAllowed:
			c.allowed += n
		case countOffered:
			c.offered += n
		}
	}
	c.last, c.started = last, true
}

type countKind int

const (
	countDenied countKind = iota
	countAllowed
	countOffered
)

type flowCount struct {
	kind    countKind
	packets uint64
}

// read reads the counters of the tables in which verdicts end.
func (s *Stream) read(ctx context.Context) error {
	read := map[string]flowCount{}
	for _, t := range []flows.Table{flows.TableDenied, flows.TableCommit} {
		o := openflow.DumpOptions{Match: fmt.Sprintf("table=%d", t), Stats: true}
		err := s.cfg.Bridge.EachFlow(ctx, o, func(f *ovs.Flow) error {
			kind := countDenied
			switch {
			case flows.Cookie(f.Cookie).Kind() == flows.KindAllowed:
				kind = countOffered // and counted once more by the flow that commits it
			case t == flows.TableCommit:
				kind = countAllowed
			}
			read[openflow.Key(f)] = flowCount{kind, f.Stats.PacketCount}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read how many verdicts there were: %w", err)
		}
	}
	s.counters.add(read)
	return nil
}

// count reads the counters from time to time.
func (s *Stream) count(ctx context.Context) {
	tick := time.NewTicker(countInterval)
	defer tick.Stop()
	for {
		// While the bridge is away nothing is counted. What can't be told of is counted
		// when somebody asks.
		metered := false
		err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) { metered = v.Unmetered() == nil })
		if err == nil && metered {
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
	if asked := c.denied + c.offered; asked > out.Sampled {
		out.Missed = asked - out.Sampled
	}
	return out, nil
}
