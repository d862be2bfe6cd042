package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/check"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/cni"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/entry"
	"github.com/sluice-cni/sluice/pkg/ipam"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/route"
	"github.com/sluice-cni/sluice/pkg/service/health"
)

// setupTime bounds one attempt to set the bridge and the gateway up.
const setupTime = 30 * time.Second

// node keeps the bridge, the gateway and the address pool as this node's pod
// ranges ask for.
type node struct {
	a        *Agent
	datapath string
	pool     *ipam.Pool
	cluster  *nodes.Table
	wake     chan struct{} // has one place

	services *services   // nil if somebody else balances Services
	others   others      // of the loop
	told     *flows.Node // the enforcer's; of the loop

	mu     sync.Mutex
	object *cluster.Node // the Node object as last heard
	plan   *nodes.Plan   // how pods and others are reached; nil before the first setup
	failed error         // why the node is not set up
	is     check.Setup   // what the last setup has made
	// serviceRanges are those of ServiceCIDRs, by name.
	serviceRanges map[string][]netip.Prefix
}

func newNode(a *Agent, datapath string) (*node, error) {
	pool, err := ipam.New(nil) // the ranges come with setup
	if err != nil {
		return nil, err
	}
	n := &node{
		a: a, datapath: datapath, pool: pool, cluster: nodes.NewTable(), wake: make(chan struct{}, 1),
		serviceRanges: map[string][]netip.Prefix{}, failed: errors.New("the node's pod ranges are not known yet"),
	}
	if a.cfg.Services == "sluice" {
		if n.services, err = newServices(a.cfg.Gateway, health.Options{Healthy: a.right, NodePort: uint16(a.cfg.ServiceHealthPort), Leaving: n.leaving}); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// userspace reports whether the bridge's datapath is in ovs-vswitchd.
func (n *node) userspace() bool { return n.datapath != vsdb.DatapathSystem }

// set hears of the Node object.
func (n *node) set(object *cluster.Node) {
	n.mu.Lock()
	n.object = object
	n.mu.Unlock()
	n.poke()
}

// leaving reports whether the node is about to go.
func (n *node) leaving() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.object != nil && n.object.Leaving
}

// poke has the setup looked at again.
func (n *node) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// changed hears of what has changed in the node's network stack.
func (n *node) changed(c route.Changes) {
	if c&(route.ChangedNode|route.ChangedMasquerade) != 0 {
		n.poke()
	}
	if n.services != nil {
		n.services.changed(c)
	}
}

// lookAgain is how often the node's setup is looked at though nothing has told
// of a change: interfaces that go down take routes with them unsaid.
const lookAgain = time.Minute

// run sets the node up, again after each change of what it depends on.
func (n *node) run(ctx context.Context) error {
	if err := route.Watch(ctx, wire.IsPortName, n.changed); err != nil {
		return err
	}
	n.poke() // ranges may be configured
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	var again <-chan time.Time
	var said string // what was wrong the last time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake:
		case <-again:
		case <-look.C:
		}
		again = nil
		err := n.setup(ctx)
		n.mu.Lock()
		n.failed = err
		n.mu.Unlock()
		err = errors.Join(err, n.others.unreached)
		if err == nil {
			said = ""
		} else if ctx.Err() == nil {
			if text := err.Error(); text != said {
				klog.FromContext(ctx).Info("The node is not set up as it should be, trying on", "err", err)
				said = text
			}
			again = time.After(time.Second)
		}
	}
}

func (n *node) setup(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	cidrs, err := n.cidrs()
	if err != nil {
		return err
	}
	cfg := n.a.cfg
	interfaces, err := route.Interfaces(cfg.Gateway)
	if err != nil {
		return err
	}
	whole := n.cluster.Synced() // before the plan is made, not after
	local := nodes.Local{PodCIDRs: cidrs, Interfaces: interfaces}
	plan := n.cluster.Plan(nodes.Config{Node: cfg.NodeName, Mode: cfg.Mode, Gateway: cfg.Gateway, MTU: cfg.MTU}, local)
	n.tell(ctx, plan)
	n.mu.Lock()
	n.plan = plan
	n.mu.Unlock()
	gateways, prefixes := gatewaysOf(cidrs)
	bridge := vsdb.Bridge{
		Name: cfg.Bridge, DatapathType: n.datapath, Gateway: cfg.Gateway, GatewayMAC: gatewayMAC(gateways), MTU: plan.MTU,
		Tunnel: n.tunnel(), Tables: flows.TableNames(), Prefixes: flows.TablePrefixes(), Limits: flows.TableLimits(),
	}
	if err := n.a.db.EnsureBridge(ctx, bridge); err != nil {
		return err
	}
	state, err := n.a.db.Bridge(ctx, cfg.Bridge)
	if err != nil {
		return err
	}
	n.a.vswitchd.setDatapath(state.DatapathType)
	if _, err := (route.Gateway{Name: cfg.Gateway, Addrs: prefixes, MTU: plan.MTU}).Ensure(ctx); err != nil {
		return err
	}
	if err := n.pool.SetCIDRs(cidrs); err != nil {
		return err
	}
	addrs, err := route.NodeAddrs()
	if err != nil {
		return err
	}
	if !whole {
		// An agent before this one may have told the bridge and the kernel of nodes
		// that this one has not heard of yet: none of that is to be lost.
		return nil
	}
	// The enforcer writes nothing before it knows the node, so that comes last.
	n.tellRemotes(plan.Remotes)
	told := &flows.Node{
		GatewayOFPort: state.GatewayOFPort, GatewayMAC: state.GatewayMAC, Gateways: gateways, PodCIDRs: cidrs, Addrs: addrs,
		TunnelOFPort: state.TunnelOFPort, TunnelSources: plan.TunnelSources,
		UserspaceConntrack: n.userspace(), HostsAnswerND: !n.userspace(),
	}
	var services entry.Local
	if n.services != nil {
		told.ServiceHops, told.ServiceSources = hopsOf(gateways), n.pool.ServiceSources()
		if services, err = n.localOf(told, plan.PodCIDRs); err != nil {
			return err
		}
		told.ServiceCIDRs, _ = services.Whole() // the loop of Services tells of the problems
	}
	if !reflect.DeepEqual(told, n.told) {
		n.a.enforcer.SetNode(*told)
		n.told = told
	}
	v4, v6 := slices.ContainsFunc(gateways, netip.Addr.Is4), slices.ContainsFunc(gateways, netip.Addr.Is6)
	if err := route.Forward(v4, v6, interfaces); err != nil {
		return err
	}
	if n.services != nil {
		n.services.setLocal(services)
	}
	err = n.reach(ctx, plan, local)
	n.keep(bridge, route.Gateway{Name: cfg.Gateway, Addrs: prefixes, MTU: plan.MTU}, local, plan)
	return err
}

// keep notes what the node has been set up as, for who checks it. reach is done
// with the plan, which does not change any more.
func (n *node) keep(bridge vsdb.Bridge, gateway route.Gateway, local nodes.Local, plan *nodes.Plan) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.is = check.Setup{Bridge: bridge, Gateway: gateway, PodCIDRs: local.PodCIDRs, Plan: plan, Unreached: n.others.unreached}
}

// setupIs returns what the node has been set up as, and why it is not as it
// should be.
func (n *node) setupIs() (check.Setup, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.is, n.failed
}

// ranges are the pod ranges of all nodes, as far as they are known, and those of
// Services.
func (n *node) ranges() []netip.Prefix {
	services, _ := n.serviceCIDRs() // the configuration is valid
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.plan == nil {
		return services
	}
	return slices.Concat(n.plan.PodCIDRs, services)
}

// mtu returns the MTU of the interfaces of pods, in bytes. None is attached
// before it is known.
func (n *node) mtu() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.plan == nil {
		return n.a.cfg.MTU
	}
	return n.plan.MTU
}

// cidrs are the pod ranges: the configured ones, else the Node object's.
func (n *node) cidrs() ([]netip.Prefix, error) {
	cidrs, err := n.a.cfg.Prefixes()
	if err != nil || len(cidrs) > 0 {
		return cidrs, err
	}
	n.mu.Lock()
	object := n.object
	n.mu.Unlock()
	switch {
	case object == nil:
		return nil, fmt.Errorf("the cluster has no Node object %s yet", n.a.cfg.NodeName)
	case len(object.PodCIDRs) == 0:
		return nil, fmt.Errorf("node %s has no spec.podCIDRs yet: does the controller manager allocate node CIDRs?", object.Name)
	}
	return object.PodCIDRs, nil
}

// ready returns why pods can't be attached to this node now, nil if they can.
func (n *node) ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}

// gatewaysOf returns the first usable address of each range, and the same with
// the range's length.
func gatewaysOf(cidrs []netip.Prefix) ([]netip.Addr, []netip.Prefix) {
	var addrs []netip.Addr
	var prefixes []netip.Prefix
	for _, c := range cidrs {
		a := ipam.Gateway(c)
		addrs = append(addrs, a)
		prefixes = append(prefixes, netip.PrefixFrom(a, c.Bits()))
	}
	return addrs, prefixes
}

// gatewayMAC is the gateway's Ethernet address: it follows from its first
// address, so that no restart changes it under the pods' neighbour caches.
func gatewayMAC(gateways []netip.Addr) net.HardwareAddr { return cni.MAC(gateways[0]) }
