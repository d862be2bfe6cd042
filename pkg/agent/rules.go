package agent

import (
	"context"

	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/traffic"
)

// goneRules returns which of some rules are no more.
func (a *Agent) goneRules(ctx context.Context, rules []traffic.Rule) (gone []traffic.Rule, err error) {
	err = a.enforcer.Look(ctx, func(v enforce.View) {
		for _, r := range rules {
			if _, there := v.Pipeline().RuleByID(r.Direction, r.ID); !there && v.Ready() {
				gone = append(gone, r)
			}
		}
	})
	return gone, err
}
