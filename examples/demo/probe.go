package main

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-cni/sluice/test/bed"
)

const (
	// deniedPatience is how long an answer that should not come is waited for. TCP
	// sends its SYN again after one second, which this includes.
	deniedPatience = 1500 * time.Millisecond
	// allowedPatience is how long an answer that should come is waited for. It
	// comes within milliseconds unless the machine is badly overloaded.
	allowedPatience = 10 * time.Second
	// probesAtOnce bounds how many wait at once. Most of them wait for nothing to
	// come.
	probesAtOnce = 100
)

// outcome is what became of a probe.
type outcome struct {
	family  int
	allowed bool // the other end answered
	// failed says what happened if it was neither an answer nor silence, as when a
	// packet arrived but was refused.
	failed error
}

// runAll runs all probes, many at once, and returns their outcomes in order.
func runAll(ctx context.Context, probes []probe, progress func(done int)) ([]outcome, error) {
	out := make([]outcome, len(probes))
	var done atomic.Int64
	var group errgroup.Group
	group.SetLimit(probesAtOnce)
	for i, p := range probes {
		group.Go(func() error {
			out[i] = p.run(ctx)
			progress(int(done.Add(1)))
			return nil
		})
	}
	_ = group.Wait()
	return out, context.Cause(ctx)
}

// run tries the connection.
func (p probe) run(ctx context.Context) outcome {
	patience := deniedPatience
	if p.allow {
		patience = allowedPatience
	}
	o := outcome{family: p.family}
	err := p.from.Probe(ctx, p.service.protocol, netip.AddrPortFrom(p.to.Addr(p.family), p.service.port), patience)
	switch {
	case err == nil:
		o.allowed = true
	case !errors.Is(err, bed.ErrNoAnswer):
		o.failed = err
	}
	return o
}
