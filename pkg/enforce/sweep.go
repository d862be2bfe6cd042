package enforce

import (
	"context"
	"errors"
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
}

// settleTime is how long after a change a packet may still be handled by a
// megaflow from before it: ovs-vswitchd revalidates them within its
// max-revalidator and flow dump times, some hundred milliseconds. Connections
// that such packets commit are found by a second sweep.
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

func (s *sweeper) run(ctx context.Context) {
	logger := klog.FromContext(ctx)
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wanted:
			again = time.After(settleTime)
		case <-again:
			again = nil
		}
		for _, zone := range [...]uint16{flows.ZoneIPv4, flows.ZoneIPv6} {
			if err := s.zone(ctx, zone); err != nil && ctx.Err() == nil {
				logger.Error(err, "Could not judge live connections anew, trying again", "zone", zone)
				again = time.After(settleTime)
			}
		}
	}
}

// zone sweeps one zone: dump, judge, flush. What would now be denied, or belongs
// to a pod that is gone, is removed, so that its next packet is judged as a new connection's.
func (s *sweeper) zone(ctx context.Context, zone uint16) error {
	entries, err := s.connections.Dump(ctx, zone)
	if err != nil || len(entries) == 0 {
		return err
	}
	var denied []conntrack.Tuple
	err = s.e.Look(ctx, func(v View) {
		for _, c := range entries {
			if conn := connectionOf(c.Orig); !v.e.pipeline.Judge(conn).Allowed || v.e.pipeline.Stale(conn) {
				denied = append(denied, c.Orig)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, t := range denied {
		switch err := s.connections.Flush(ctx, zone, t); {
		case errors.Is(err, conntrack.ErrUnflushable):
			continue // its packets are judged one by one (flows.Node.UserspaceConntrack)
		case err != nil:
			return err
		}
		s.cut.Add(1)
	}
	return nil
}

// connectionOf returns the connection that a tracked one began as.
func connectionOf(t conntrack.Tuple) flows.Connection {
	return flows.Connection{Src: t.Src, Dst: t.Dst, Protocol: t.Protocol, DstPort: t.DstPort}
}
