package observe

import (
	"context"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/ovs/unixctl"
)

// How often and how soon a trace is made again that the underlay has ended.
const (
	underlayTries = 20
	underlayWait  = 50 * time.Millisecond
)

// run traces a packet through the bridge.
//
// On the userspace datapath Open vSwitch has to know the neighbour in the underlay
// that a tunnel's packets go to. Where it does not it asks for it, for a trace as for
// a packet, and sends nothing until it has an answer. That is no verdict: the trace
// is made again then. Not for long: an answer that the datapath forwards by a flow it
// has already is not seen, and each question keeps that flow for ten seconds more.
func (o *Observer) run(ctx context.Context, vswitchd *unixctl.Client, p trace.Packet) (*trace.Trace, error) {
	for try := 1; ; try++ {
		t, err := trace.Run(ctx, vswitchd, o.cfg.Bridge, p, trace.Options{Tables: o.tables})
		if err != nil || !noNeighbour(t) || try == underlayTries {
			return t, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(underlayWait):
		}
	}
}

// noNeighbour reports whether a packet ended because nobody in the underlay has
// answered for the tunnel's other end, or for the router on the way there, so far.
func noNeighbour(t *trace.Trace) bool {
	if !t.Dropped {
		return false
	}
	for _, s := range t.Steps {
		for _, note := range s.Notes {
			if strings.HasPrefix(note, "neighbor cache miss") {
				return true
			}
		}
	}
	return false
}
