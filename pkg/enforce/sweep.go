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
	freed       freed
	cut         atomic.Uint64
}

func (s *sweeper) init(c Connections, e *Enforcer) {
	s.connections, s.e, s.wanted = c, e, make(chan struct{}, 1)
	s.freed.init()
}

// request asks for a sweep soon, after which nothing is left with some addresses.
func (s *sweeper) request(freed []netip.Addr) {
	if s.connections == nil {
		return
	}
	s.freed.add(freed)
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

// tracked is a connection that is to be removed.
type tracked struct {
	zone uint16
	orig conntrack.Tuple
	pod  netip.Addr // the pod of this node whose it is
}

// maxDenied and maxLeftovers are how many connections that are no longer allowed, and
// how many leftovers, are removed before it is looked whether there is something more
// urgent. There may be thousands, and each takes a round trip.
const (
	maxDenied    = 1000
	maxLeftovers = 100
)

func (s *sweeper) run(ctx context.Context) {
	logger := klog.FromContext(ctx)
	var again <-chan time.Time
	settled := make(chan struct{}, 1)
	var settler sync.WaitGroup
	defer settler.Wait()
	settling, more := false, false // more: something has changed while settling
	// What was asked for before the settling under way, and before one that is over
	// and that no whole sweep has followed yet.
	var began, over uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wanted:
			more = true
		case <-settled:
			settling, over = false, began
		case <-again:
			again = nil
		}
		whole := true
		var denied, leftovers []tracked
		for _, zone := range [...]uint16{flows.ZoneIPv4, flows.ZoneIPv6} {
			cut, left, err := s.zone(ctx, zone)
			if err != nil && ctx.Err() == nil {
				logger.Error(err, "Could not judge live connections anew, trying again", "zone", zone)
				again = time.After(settleTime)
			}
			whole = whole && err == nil
			denied, leftovers = append(denied, cut...), append(leftovers, left...)
		}
		if more && !settling {
			settling, more, began = true, false, s.freed.last()
			settler.Go(func() { s.settle(ctx, settled) })
		}
		// The next sweep finds again what it is asked for too soon to remove.
		parts := slices.AppendSeq(slices.Collect(slices.Chunk(inTurns(denied), maxDenied)), slices.Chunk(leftovers, maxLeftovers))
		for i, part := range parts {
			if err := s.removeAll(ctx, part); err != nil && ctx.Err() == nil {
				logger.Error(err, "Could not remove connections, trying again")
				again = time.After(settleTime)
			}
			if len(s.wanted) > 0 || len(settled) > 0 || ctx.Err() != nil {
				whole = whole && i == len(parts)-1
				break
			}
		}
		// A connection that can't be removed must not keep addresses from all pods.
		if whole && over > 0 {
			s.freed.done(over)
			over = 0
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

// zone sweeps one zone, tells of it and returns what is no longer allowed there and
// what is left over.
func (s *sweeper) zone(ctx context.Context, zone uint16) (denied, left []tracked, err error) {
	begun := time.Now()
	connections, denied, left, err := s.judge(ctx, zone)
	if swept := s.e.cfg.Hooks.Swept; swept != nil && err == nil {
		swept(Swept{Zone: zone, Connections: connections, Denied: len(denied), Leftovers: len(left), Took: time.Since(begun)})
	}
	return denied, left, err
}

// judge dumps and judges, and returns how many connections there were. What would now
// be denied is to be removed, so that its next packet is judged as a new connection's.
// Less urgent is what is left of an endpoint or a pod that is gone: nothing is let
// through by it that would be denied.
func (s *sweeper) judge(ctx context.Context, zone uint16) (n int, denied, left []tracked, err error) {
	entries, err := s.connections.Dump(ctx, zone)
	if err != nil || len(entries) == 0 {
		return 0, nil, nil, err
	}
	var strays, stale []tracked
	err = s.e.Look(ctx, func(v View) {
		for _, c := range entries {
			switch p, conn := v.e.pipeline, connectionOf(c); {
			case p.Stale(conn):
				stale = append(stale, tracked{zone: zone, orig: c.Orig})
			case !p.Judge(conn).Allowed:
				pod := conn.Src
				if _, here := p.PortByAddr(pod); !here {
					pod = conn.Dst
				}
				denied = append(denied, tracked{zone, c.Orig, pod})
			case p.Stray(balancedOf(c)):
				strays = append(strays, tracked{zone: zone, orig: c.Orig})
			}
		}
	})
	if err != nil {
		return 0, nil, nil, err
	}
	// Those of endpoints first: their clients may be there.
	return len(entries), denied, append(strays, stale...), nil
}

// inTurns orders connections so that each pod has its turn: those of a pod that has
// many do not come before all others'.
func inTurns(all []tracked) []tracked {
	type turn struct {
		tracked
		n int
	}
	turns, had := make([]turn, len(all)), map[netip.Addr]int{}
	for i, c := range all {
		turns[i] = turn{c, had[c.pod]}
		had[c.pod]++
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.n, b.n) })
	for i := range turns {
		all[i] = turns[i].tracked
	}
	return all
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
