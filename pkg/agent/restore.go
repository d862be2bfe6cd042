package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/ovs/vsdb"
)

// restore follows for whose flows ovs-vswitchd waits. The kernel's datapath
// forwards meanwhile by what it has cached, so that no packet meets a bridge that is
// still empty.
func (a *Agent) restore(ctx context.Context) error {
	is := vsdb.RestoreNone
	for {
		was := is
		var err error
		if is, err = a.db.NextRestore(ctx, was); err != nil {
			return nil // the agent ends
		}
		switch {
		case is == vsdb.RestoreOwn:
			a.endRestore(ctx)
			is = vsdb.RestoreNone // one that has started since waits anew
		case is == vsdb.RestoreNone && was == vsdb.RestoreForeign:
			// Whoever has waited may have written flows of before over this agent's.
			if err := a.enforcer.Resync(ctx); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Could not write the bridge after somebody else has restored flows")
			}
		}
	}
}

// endRestore has ovs-vswitchd work as soon as it has its flows. Whoever has it wait
// bounds that: one without flows then goes on with none.
func (a *Agent) endRestore(ctx context.Context) {
	logger := klog.FromContext(ctx)
	for said := ""; ctx.Err() == nil; {
		err := a.tryEndRestore(ctx)
		if err == nil {
			logger.Info("ovs-vswitchd has its flows, and works from now on")
			return
		}
		if text := err.Error(); text != said && ctx.Err() == nil {
			logger.Info("ovs-vswitchd still waits for its flows, trying on", "err", err)
			said = text
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookInterval):
		}
	}
}

func (a *Agent) tryEndRestore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restartTime)
	defer cancel()
	// The one that has the flows must be the one that is told to work with them.
	run, err := a.vswitchd.run()
	if err != nil {
		return err
	}
	if err := errors.Join(a.bridge.Wait(ctx), a.enforcer.Resync(ctx)); err != nil {
		return err
	}
	if now, err := a.vswitchd.run(); err != nil || now != run {
		return errors.Join(errors.New("ovs-vswitchd has started anew"), err)
	}
	return a.db.EndRestore(ctx)
}

// restored waits until no port is in what the kernel has cached for ports of
// before: a new one may have got the number of one that is gone.
func (a *Agent) restored(ctx context.Context) error {
	if _, err := a.db.NextRestore(ctx, vsdb.RestoreOwn); err != nil {
		return fmt.Errorf("ovs-vswitchd still waits for its flows: %w", err)
	}
	return nil
}
