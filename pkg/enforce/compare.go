package enforce

import (
	"context"
	"errors"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
)

// ErrChanging says that the bridge was written each time it was compared.
var ErrChanging = errors.New("the bridge was written while it was read, again and again")

// compareAttempts is how often a comparison begins anew because something was
// written meanwhile.
const compareAttempts = 5

// Comparison is what a bridge should hold and what it held at the same time.
type Comparison struct {
	// Desired and Actual are in no particular order, without counters, and read
	// only.
	Desired, Actual []*flows.Flow
	// DesiredGroups and ActualGroups are the same of groups.
	DesiredGroups, ActualGroups []*openflow.Group
	// Learned is how many flows more there are that the switch has added by itself.
	Learned int
}

// Compare reads the bridge and what it should hold. Reading takes a while, in
// which the loop goes on: what was read counts only if nothing was written
// meanwhile.
func (e *Enforcer) Compare(ctx context.Context) (*Comparison, error) {
	for range compareAttempts {
		c := &Comparison{}
		var before, after uint64
		ready := false
		err := e.Look(ctx, func(v View) {
			if ready = v.Ready(); ready {
				before, c.Desired = v.e.commits, slices.Collect(v.e.pipeline.Flows())
				c.DesiredGroups = slices.Collect(allGroups(v.e.pipeline))
			}
		})
		if err != nil {
			return nil, err
		}
		if !ready {
			return nil, errors.New("the enforcer has not written the bridge yet")
		}
		actual, err := e.read(ctx)
		if err != nil {
			return nil, err
		}
		c.Actual, c.ActualGroups, c.Learned = actual.flows, actual.groups, len(actual.learned)
		if err := e.Look(ctx, func(v View) { after = v.e.commits; ready = v.Ready() }); err != nil {
			return nil, err
		}
		if ready && before == after {
			return c, nil
		}
	}
	return nil, ErrChanging
}
