package enforce

import (
	"context"
	"fmt"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
)

// CheckPort returns nil if the bridge holds all flows of a port, else an error
// that names one that is missing or not as it should be.
func (e *Enforcer) CheckPort(ctx context.Context, name string) error {
	var want []*flows.Flow
	var known bool
	if err := e.Look(ctx, func(v View) { want, known = v.e.pipeline.PortFlows(name) }); err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("port %s: the enforcer does not know it", name)
	}
	actual, err := e.cfg.Bridge.DumpFlows(ctx)
	if err != nil {
		return fmt.Errorf("read the bridge's flows: %w", err)
	}
	there := make(map[string]string, len(actual))
	for _, f := range actual {
		there[openflow.Key(f)] = openflow.Text(f)
	}
	for _, f := range want {
		text := openflow.Text(f)
		switch got, ok := there[openflow.Key(f)]; {
		case !ok:
			return fmt.Errorf("port %s: flow is missing on the bridge: %s", name, text)
		case got != text:
			return fmt.Errorf("port %s: flow is %s on the bridge, should be %s", name, got, text)
		}
	}
	return nil
}
