package verdict

import (
	"context"
	"errors"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// keepWatch has the enforcer tell the bridge what is asked for.
func (s *Stream) keepWatch(ctx context.Context) {
	for {
		select {
		case <-s.poke:
		case <-ctx.Done():
			return
		}
		want := s.cfg.Rates
		if !s.allows() {
			want = Denials(want)
		}
		var now flows.Watch
		err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) { now = v.Pipeline().Watch() })
		if err == nil && now != want {
			err = s.cfg.Enforcer.SetWatch(ctx, want)
		}
		// Without meters nothing is told; the enforcer has said so.
		if err != nil && ctx.Err() == nil && !errors.Is(err, openflow.ErrNoMeters) {
			klog.FromContext(ctx).Error(err, "Could not change which verdicts are told of")
		}
	}
}
