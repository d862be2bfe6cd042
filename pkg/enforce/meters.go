package enforce

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
)

// SetWatch changes which verdicts the bridge tells of, and returns when it does.
// Where the bridge has no meters it tells of none: the error then is
// openflow.ErrNoMeters.
func (e *Enforcer) SetWatch(ctx context.Context, w flows.Watch) error {
	return e.do(ctx, &request{watch: &w})
}

// SetLive changes which packets the bridge follows, and returns when it does. The
// zero value follows none. It needs meters as SetWatch does.
func (e *Enforcer) SetLive(ctx context.Context, l flows.Live) error {
	return e.do(ctx, &request{live: &l})
}

// forgetLive follows no packets any more if the switch has refused a bundle: what
// has to be enforced must not wait for what somebody asked to see.
func (e *Enforcer) forgetLive(err error) {
	if _, refused := errors.AsType[*openflow.BundleError](err); refused && len(e.pipeline.Live().Matches) > 0 {
		_, _ = e.pipeline.Apply(flows.Delta{Live: &flows.Live{}}) // the next turn compares all flows
		e.unfollowed = err
	}
}

// prepareMeters makes the meters stand that the pipeline's flows refer to, before
// these are written. What can't be told of is still denied and allowed: if there
// are no meters, the flows do without.
func (e *Enforcer) prepareMeters(ctx context.Context, reread bool) error {
	want := e.pipeline.Meters()
	if reread && len(want) > 0 {
		standing, err := e.cfg.Bridge.DumpMeters(ctx)
		if err != nil {
			return e.withoutMeters(ctx, err)
		}
		e.meters = map[uint32]openflow.Meter{}
		for _, m := range standing {
			e.meters[m.ID] = m
		}
	}
	var add, modify []openflow.Meter
	for _, w := range want {
		m := openflow.Meter{ID: w.ID, Rate: w.Rate, Burst: w.Rate}
		switch was, there := e.meters[m.ID]; {
		case !there:
			add = append(add, m)
		case was != m:
			modify = append(modify, m)
		}
	}
	if len(add)+len(modify) == 0 {
		return nil
	}
	if err := e.cfg.Bridge.ChangeMeters(ctx, add, modify, nil); err != nil {
		e.stale = true // some may stand
		return e.withoutMeters(ctx, err)
	}
	for _, m := range append(add, modify...) {
		e.meters[m.ID] = m
	}
	return nil
}

// withoutMeters gives up to tell of verdicts if an error says that there are no
// meters, and returns all other errors.
func (e *Enforcer) withoutMeters(ctx context.Context, err error) error {
	if !errors.Is(err, openflow.ErrNoMeters) {
		return err
	}
	if len(e.pipeline.Meters()) > 0 {
		klog.FromContext(ctx).Info("No verdicts are told of", "err", err.Error())
		if _, err := e.pipeline.Apply(flows.Delta{Watch: &flows.Watch{}, Live: &flows.Live{}}); err != nil {
			return err
		}
		e.stale = true // its changes are to be had by comparing all flows
	}
	e.unmetered, e.meters = err, nil
	return nil
}

// dropMeters deletes meters that no flow refers to any more. That it fails costs
// nothing but their room: the next turn tries again.
func (e *Enforcer) dropMeters(ctx context.Context) {
	if len(e.meters) == 0 {
		return
	}
	wanted := map[uint32]bool{}
	for _, m := range e.pipeline.Meters() {
		wanted[m.ID] = true
	}
	var gone []uint32
	for id := range e.meters {
		if !wanted[id] {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return
	}
	if err := e.cfg.Bridge.ChangeMeters(ctx, nil, nil, gone); err != nil {
		klog.FromContext(ctx).V(2).Info("Could not delete meters", "err", err.Error())
		return
	}
	for _, id := range gone {
		delete(e.meters, id)
	}
}
