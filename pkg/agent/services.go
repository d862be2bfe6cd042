package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/entry"
	"github.com/sluice-cni/sluice/pkg/route"
	"github.com/sluice-cni/sluice/pkg/service"
	"github.com/sluice-cni/sluice/pkg/service/health"
)

// services keeps the kernel leading to the bridge what the bridge balances. It has
// a loop of its own: Services come and go far more often than what the node's setup
// depends on.
type services struct {
	kernel *route.Services
	health *health.Server // of Services, asked by load balancers
	wake   chan struct{}  // has one place

	// What follows belongs to the loop.
	table    *entry.Table
	state    *route.ServiceState // nil if it is to be made anew
	problems []string            // told of

	mu      sync.Mutex
	pending []flows.BalancerChange
	begun   bool         // the balancers that there were are known
	local   *entry.Local // nil before the node's first setup
	moved   bool         // local is another than the loop has seen
	look    bool         // the kernel may hold something else
	check   route.Check  // how well to look
}

// newServices returns the loop. Answers are how load balancers are answered.
func newServices(gateway string, answers health.Options) (*services, error) {
	kernel, err := route.OpenServices(gateway, flows.RemoteMAC)
	if err != nil {
		return nil, err
	}
	return &services{kernel: kernel, health: health.New(answers), wake: make(chan struct{}, 1), table: entry.New(), look: true, check: route.CheckAll}, nil
}

// setBalancers hears of changes of the balancers on the bridge. The first call has
// all that there are: until then what an agent before this one has told the
// kernel stays. It does not wait.
func (n *node) setBalancers(changes []flows.BalancerChange) {
	s := n.services
	if s == nil {
		return
	}
	s.mu.Lock()
	news := len(changes) > 0 || !s.begun
	s.pending, s.begun = append(s.pending, changes...), true
	s.mu.Unlock()
	if news {
		s.poke()
	}
}

// right reports whether the bridge holds what it should.
func (a *Agent) right() (right bool) {
	ctx, cancel := context.WithTimeout(context.Background(), healthTime)
	defer cancel()
	err := a.enforcer.Look(ctx, func(v enforce.View) { right = v.Ready() })
	return right && err == nil
}

// balanced hears from the enforcer what has changed of the balancers on the bridge.
func (n *node) balanced(changes []flows.BalancerChange, checks []service.HealthCheck) {
	n.setBalancers(changes)
	if n.services != nil {
		n.services.health.Set(checks)
	}
}

// setLocal hears of the node's addresses and the others'.
func (s *services) setLocal(l entry.Local) {
	s.mu.Lock()
	same := s.local != nil && reflect.DeepEqual(*s.local, l)
	if !same {
		s.local, s.moved = &l, true
	}
	s.mu.Unlock()
	if !same {
		s.poke()
	}
}

// changed hears of what has changed in the node's network stack.
func (s *services) changed(c route.Changes) {
	check := route.CheckNothing
	switch {
	case c&route.ChangedServices != 0:
		check = route.CheckTable
	case c&route.ChangedNode == 0:
		return
	}
	s.lookAt(check)
}

func (s *services) lookAt(c route.Check) {
	s.mu.Lock()
	s.look, s.check = true, max(s.check, c)
	s.mu.Unlock()
	s.poke()
}

func (s *services) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// runServices is the loop. Where somebody else balances Services it takes away
// what an agent that did has left.
func (n *node) runServices(ctx context.Context) error {
	s := n.services
	if s == nil {
		if err := route.RemoveServices(ctx); err != nil {
			klog.FromContext(ctx).Info("Could not remove what is left of Services on the node", "err", err)
		}
		return nil
	}
	answering := make(chan error, 1)
	go func() { answering <- s.health.Run(ctx) }()
	defer func() { <-answering }() // it ends with ctx
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	var again <-chan time.Time
	var said string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			s.lookAt(route.CheckAll)
			continue
		case <-again:
		case <-s.wake:
		}
		again = nil
		if err := s.turn(ctx); err == nil {
			said = ""
		} else if ctx.Err() == nil {
			s.mu.Lock()
			s.look = true // what is known is as it was, but not in the kernel
			s.mu.Unlock()
			again = time.After(time.Second)
			if text := err.Error(); text != said {
				klog.FromContext(ctx).Info("Services are not reached from the node as they should be, trying on", "err", err)
				said = text
			}
		}
	}
}

// turn brings the kernel to what is known now.
func (s *services) turn(ctx context.Context) error {
	s.mu.Lock()
	changes, local, moved, look, check := s.pending, s.local, s.moved, s.look, s.check
	if local == nil || !s.begun {
		s.mu.Unlock()
		return nil
	}
	s.pending, s.moved, s.look, s.check = nil, false, false, route.CheckNothing
	s.mu.Unlock()

	if s.table.Update(changes) || moved || s.state == nil {
		var problems []string
		s.state, problems = s.table.State(*local)
		for _, p := range problems {
			if !slices.Contains(s.problems, p) {
				klog.FromContext(ctx).Info("Service that the node can't be led to as it asks", "problem", p)
			}
		}
		s.problems = problems
	} else if !look {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	changed, err := s.kernel.Ensure(ctx, s.state, check)
	if changed {
		klog.FromContext(ctx).V(1).Info("Changed what the kernel leads to the bridge", "table", "inet "+route.ServiceTable)
	}
	return err
}

// setServiceCIDR hears of a ServiceCIDR object.
func (n *node) setServiceCIDR(c *cluster.ServiceCIDR, gone bool) {
	n.mu.Lock()
	if delete(n.serviceRanges, c.Name); !gone {
		n.serviceRanges[c.Name] = c.CIDRs
	}
	n.mu.Unlock()
	n.poke()
}

// serviceCIDRs are the ranges of cluster IPs: the configured ones, and those the
// cluster has. Ranges may lie in one another.
func (n *node) serviceCIDRs() ([]netip.Prefix, error) {
	out, err := n.a.cfg.ServicePrefixes()
	if err != nil {
		return nil, fmt.Errorf("ranges of Services: %w", err)
	}
	n.mu.Lock()
	for _, cidrs := range n.serviceRanges {
		out = append(out, cidrs...)
	}
	n.mu.Unlock()
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out), nil
}

// localOf is what the node knows of addresses.
func (n *node) localOf(now *flows.Node, pods []netip.Prefix) (entry.Local, error) {
	ranges, err := n.serviceCIDRs()
	local, errLocal := route.LocalAddrs()
	err = errors.Join(err, errLocal)
	nodes := n.cluster.Addrs()
	for _, a := range slices.Concat(now.Addrs, local) {
		nodes[a] = true
	}
	return entry.Local{Sources: now.Gateways, Bridge: now.ServiceSources, Ranges: ranges, Nodes: nodes, Pods: pods}, err
}

// hopsOf are the ServiceHops of the families that have a gateway.
func hopsOf(gateways []netip.Addr) (out []netip.Addr) {
	for _, g := range gateways {
		out = append(out, route.ServiceHops[route.FamilyOf(g)])
	}
	return out
}
