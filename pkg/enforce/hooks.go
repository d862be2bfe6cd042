package enforce

import (
	"context"
	"time"

	"github.com/sluice-cni/sluice/ovs/openflow"
)

// Counters follows the counters of flows, which go with their flows.
type Counters interface {
	// Writing is called from the loop before a bundle is sent, and what it returns
	// when the switch has answered: with nil if the bundle is in force. By the view,
	// the pipeline is already as it will be.
	Writing(ctx context.Context, v View, tx *openflow.Transaction) func(error)
}

// Hooks hear what the enforcer does; those that are nil hear nothing. They are
// called while it does it and must not block.
type Hooks struct {
	// Written is called when the switch has taken a bundle.
	Written func(Written)
	// Swept is called after a zone's live connections were judged anew.
	Swept func(Swept)
}

// Written tells of a bundle that is in force.
type Written struct {
	// Changes is how many flow changes it held, Took how long the switch needed from
	// the first byte to its answer.
	Changes int
	Took    time.Duration
	// Events is for each event of the cluster that it is due to, or that came along
	// with those, how long ago the event was heard. The first bundle has none.
	Events []time.Duration
}

// Swept tells of a sweep of a zone.
type Swept struct {
	Zone uint16
	// Connections is how many there were, Denied how many of them are no longer allowed,
	// Leftovers how many belong to pods and endpoints that are gone. They are removed
	// afterwards, in this order.
	Connections, Denied, Leftovers int
	Took                           time.Duration
}

// commit writes a bundle and tells those who want to know.
func (e *Enforcer) commit(ctx context.Context, tx *openflow.Transaction) error {
	written := func(error) {}
	if e.cfg.Counters != nil {
		written = e.cfg.Counters.Writing(ctx, View{e}, tx)
	}
	begun := time.Now()
	err := e.cfg.Bridge.Commit(ctx, tx)
	now := time.Now()
	written(err)
	if err == nil && e.cfg.Hooks.Written != nil {
		w := Written{Changes: tx.Len(), Took: now.Sub(begun), Events: make([]time.Duration, len(e.heard))}
		for i, at := range e.heard {
			w.Events[i] = now.Sub(at)
		}
		e.cfg.Hooks.Written(w)
	}
	return err
}
