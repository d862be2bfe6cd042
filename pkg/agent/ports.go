package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/policy"
)

// loadPorts tells the enforcer of the ports there are, and from then on of
// changes that no CNI call makes: numbers that ovs-vswitchd gives anew, ports
// that somebody takes away.
func (a *Agent) loadPorts(ctx context.Context) error {
	ports, err := a.db.Ports(ctx)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if p.Bridge == a.cfg.Bridge && p.OFPort != 0 {
			a.enforcer.TellPort(localPort(p))
		}
	}
	cancel := a.db.Subscribe(func(e vsdb.PortEvent) {
		if e.Port.Bridge != a.cfg.Bridge {
			return
		}
		if e.Kind == vsdb.PortRemoved || e.Kind == vsdb.PortLost {
			a.enforcer.TellPortGone(e.Port.Name)
			return
		}
		a.enforcer.TellPort(localPort(e.Port))
	})
	context.AfterFunc(ctx, cancel)
	return nil
}

func localPort(p vsdb.Port) policy.LocalPort {
	return policy.LocalPort{
		Name: p.Name, OFPort: p.OFPort, MAC: p.MAC, Addrs: p.Addrs,
		Pod: cluster.Key{Namespace: p.PodNamespace, Name: p.PodName}, UID: p.PodUID,
	}
}

// enforcerPorts implements cni.Enforcer.
type enforcerPorts struct{ a *Agent }

func (e enforcerPorts) SetPort(ctx context.Context, p vsdb.Port) error {
	if err := e.a.enforcer.SetPort(ctx, localPort(p)); err != nil {
		return err
	}
	return e.a.restored(ctx)
}

func (e enforcerPorts) DeletePort(ctx context.Context, name string) error {
	return e.a.enforcer.DeletePort(ctx, name)
}

func (e enforcerPorts) CheckPort(ctx context.Context, name string) error {
	return e.a.enforcer.CheckPort(ctx, name)
}

func (e enforcerPorts) Ready(ctx context.Context) error { return e.a.ready(ctx) }

// ready returns why the agent can't attach pods now.
func (a *Agent) ready(ctx context.Context) error {
	if !a.db.Connected() {
		return errors.New("no connection to the Open vSwitch database")
	}
	if !a.vswitchd.up.Load() {
		return errors.New("ovs-vswitchd does not run")
	}
	if err := a.node.ready(); err != nil {
		return err
	}
	var ready bool
	if err := a.enforcer.Look(ctx, func(v enforce.View) { ready = v.Ready() }); err != nil {
		return fmt.Errorf("enforcer: %w", err)
	}
	if !ready {
		return errors.New("the bridge does not hold yet what it should: is the API server reachable?")
	}
	return nil
}

// reconcileInterval is how often attachments that the runtime forgot, or lost
// without an agent, are looked for.
const reconcileInterval = 10 * time.Minute

// reconcile detaches what is dead: at once for what happened while no agent ran,
// and again from time to time.
func (a *Agent) reconcile(ctx context.Context) error {
	tick := time.NewTicker(reconcileInterval)
	defer tick.Stop()
	for {
		if err := a.cni.Reconcile(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Could not detach what is dead, trying again later")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
