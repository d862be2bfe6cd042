package enforce

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/conntrack"
)

// Connections lists and removes entries of connection tracking.
type Connections interface {
	Dump(ctx context.Context, zone uint16) ([]conntrack.Entry, error)
	Flush(ctx context.Context, zone uint16, t conntrack.Tuple) error
	// Settle returns when no packet is handled any more as flows said before the
	// call.
	Settle(ctx context.Context) error
}

// settleTime is how long after a change a packet is usually handled by a megaflow
// from before it: ovs-vswitchd revalidates them within its max-revalidator and
// flow dump times, some hundred milliseconds. It is waited for where nothing
// better is known.
const settleTime = time.Second

// sweeper judges live connections anew after policies have changed.
type sweeper struct {
	connections Connections
	e           *Enforcer
	wanted      chan struct{} // has one place
	cut         atomic.Uint64
}

func (s *sweeper) init(c Connections, e *Enforcer) {
	s.connections, s.e, s.wanted = c, e, make(chan struct{}, 1)
}

// request asks for a sweep soon.
func (s *sweeper) request() {
	if s.connections == nil {
		return
	}
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

// tracked is a connection that is to be removed.
type tracked struct {
	zone uint16
	orig conntrack.Tuple
}

// maxLeftovers is how many leftovers are removed before it is looked whether there
// is something more urgent. There may be thousands, and each takes a round trip.
const maxLeftovers = 100

func (s *sweeper) run(ctx context.Context) {
	logger := klog.FromContext(ctx)
	var again <-chan time.Time
	settled := make(chan struct{}, 1)
	var settler sync.WaitGroup
	defer settler.Wait()
	settling, more := false, false // more: something has changed while settling
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wanted:
			more = true
		case <-settled:
			settling = false
		case <-again:
			again = nil
		}
		var leftovers []tracked
		for _, zone := range [...]uint16{flows.ZoneIPv4, flows.ZoneIPv6} {
			left, err := s.zone(ctx, zone)
			if err != nil && ctx.Err() == nil {
				logger.Error(err, "Could not judge live connections anew, trying again", "zone", zone)
				again = time.After(settleTime)
			}
			leftovers = append(leftovers, left...)
		}
		if more && !settling {
			settling, more = true, false
			settler.Go(func() { s.settle(ctx, settled) })
		}
		// The next sweep finds again what it is asked for too soon to remove.
		for part := range slices.Chunk(leftovers, maxLeftovers) {
			if err := s.removeAll(ctx, part); err != nil && ctx.Err() == nil {
				logger.Error(err, "Could not remove connections of what is gone, trying again")
				again = time.After(settleTime)
			}
			if len(s.wanted) > 0 || len(settled) > 0 || ctx.Err() != nil {
				break
			}
		}
	}
}

// settle tells when packets are handled as flows say now. Connections that were
// committed in between are found by a second sweep. How long it takes a pod may
// have in its hands: the more megaflows its packets make, the longer.
func (s *sweeper) settle(ctx context.Context, settled chan<- struct{}) {
	if err := s.connections.Settle(ctx); err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).V(2).Info("Could not tell when flows are in force, waiting instead", "wait", settleTime, "err", err)
		select {
		case <-time.After(settleTime):
		case <-ctx.Done():
		}
	}
	settled <- struct{}{} // has a place: there is one settle at a time
}

// zone sweeps one zone, tells of it and returns what is left over there.
func (s *sweeper) zone(ctx context.Context, zone uint16) ([]tracked, error) {
	begun, before := time.Now(), s.cut.Load()
	connections, left, err := s.judge(ctx, zone)
	if swept := s.e.cfg.Hooks.Swept; swept != nil && err == nil {
		swept(Swept{Zone: zone, Connections: connections, Cut: int(s.cut.Load() - before), Leftovers: len(left), Took: time.Since(begun)})
	}
	return left, err
}

// judge dumps, judges and flushes, and returns how many connections there were.
// What would now be denied is removed, so that its next packet is judged as a new
// connection's. What belongs to an endpoint or a pod that is gone is returned:
// nothing is let through by it that would be denied.
func (s *sweeper) judge(ctx context.Context, zone uint16) (int, []tracked, error) {
	entries, err := s.connections.Dump(ctx, zone)
	if err != nil || len(entries) == 0 {
		return 0, nil, err
	}
	var denied, strays, stale []tracked
	err = s.e.Look(ctx, func(v View) {
		for _, c := range entries {
			switch p, conn := v.e.pipeline, connectionOf(c); {
			case p.Stale(conn):
				stale = append(stale, tracked{zone, c.Orig})
			case !p.Judge(conn).Allowed:
				denied = append(denied, tracked{zone, c.Orig})
			case p.Stray(balancedOf(c)):
				strays = append(strays, tracked{zone, c.Orig})
			}
		}
	})
	if err != nil {
		return 0, nil, err
	}
	err = s.removeAll(ctx, denied)
	// Those of endpoints first: their clients may be there.
	return len(entries), append(strays, stale...), err
}

// removeAll removes connections. One that it can't remove stops it from none of the
// others: who has such a one would else keep all.
func (s *sweeper) removeAll(ctx context.Context, all []tracked) (err error) {
	for _, c := range all {
		err = cmp.Or(err, s.remove(ctx, c))
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// remove removes a connection, if it can be removed alone.
func (s *sweeper) remove(ctx context.Context, c tracked) error {
	switch err := s.connections.Flush(ctx, c.zone, c.orig); {
	case errors.Is(err, conntrack.ErrUnflushable):
		return nil // its packets are judged one by one (flows.Node.UserspaceConntrack)
	case err != nil:
		return err
	}
	s.cut.Add(1)
	return nil
}

// connectionOf returns the connection that a tracked one began as: to the endpoint
// it was translated to, if it was.
func connectionOf(e conntrack.Entry) flows.Connection {
	return flows.Connection{
		Src: e.Orig.Src, Dst: e.Reply.Src, Protocol: e.Orig.Protocol, DstPort: e.Reply.SrcPort, ByGateway: e.Mark&flows.MarkSource == flows.MarkGateway,
	}
}

// balancedOf returns what is known of who answers a tracked connection.
func balancedOf(e conntrack.Entry) flows.Balanced {
	return flows.Balanced{
		Protocol: e.Orig.Protocol, Frontend: netip.AddrPortFrom(e.Orig.Dst, e.Orig.DstPort),
		Endpoint: netip.AddrPortFrom(e.Reply.Src, e.Reply.SrcPort), Replied: e.State != "SYN_SENT",
	}
}
