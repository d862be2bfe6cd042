package agent

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/route"
)

// tunnelPort is the name of the bridge's tunnel port.
const tunnelPort = "sluice-tun0"

// others is what the bridge and the kernel have been told of the other nodes. It
// belongs to the node's loop.
type others struct {
	masquerade *route.Masquerade
	remotes    map[string]flows.Remote // the enforcer's
	plan       *nodes.Plan             // the last one
	// unreached is why routes to other nodes are not all there. It keeps no pod from
	// being attached: what is amiss may be one range, or one node.
	unreached error
}

// tunnel is the tunnel port that the mode asks for.
func (n *node) tunnel() *vsdb.Tunnel {
	if n.a.cfg.Mode == nodes.NoEncap {
		return nil
	}
	return &vsdb.Tunnel{Name: tunnelPort, Type: n.a.cfg.Tunnel}
}

// reach makes the kernel send packets to other nodes' pods, and to outside of the
// cluster, as the plan says.
func (n *node) reach(ctx context.Context, p *nodes.Plan, local nodes.Local) error {
	o := &n.others
	var changed int
	var err error
	if !n.userspace() {
		// There the bridge answers for other nodes' gateways over IPv4 alone (see
		// flows.Node.HostsAnswerND).
		for i, r := range p.Routes {
			if r.OnLink && r.Via.Is6() {
				p.Routes[i].ViaMAC = flows.RemoteMAC
			}
		}
	}
	if changed, o.unreached = route.SetRoutes(p.Routes); changed > 0 {
		klog.FromContext(ctx).Info("Changed routes to other nodes' pods", "changed", changed, "routes", len(p.Routes))
	}
	if o.masquerade == nil {
		if o.masquerade, err = route.OpenMasquerade(n.a.cfg.Gateway); err != nil {
			return err
		}
	}
	rewritten, err := o.masquerade.Ensure(ctx, local.PodCIDRs, p.PodCIDRs)
	if rewritten {
		klog.FromContext(ctx).Info("Wrote nftables rules", "table", "inet "+route.Table)
	}
	return err
}

// tellRemotes tells the enforcer which nodes are behind the tunnel.
func (n *node) tellRemotes(now map[string]flows.Remote) {
	before, e := n.others.remotes, n.a.enforcer
	// A range may go from one node to another: it is given back first.
	for name, old := range before {
		if r, ok := now[name]; !ok || !slices.Equal(r.PodCIDRs, old.PodCIDRs) {
			e.DeleteRemote(name)
		}
	}
	for name, r := range now {
		if old, ok := before[name]; !ok || !reflect.DeepEqual(r, old) {
			e.SetRemote(name, r)
		}
	}
	n.others.remotes = maps.Clone(now)
}

// network returns how other nodes are reached, with a nil plan before the first
// setup.
func (n *node) network() (mode nodes.Mode, tunnel string, p *nodes.Plan) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.a.cfg.Mode, n.a.cfg.Tunnel, n.plan
}

// tell logs what is new in a plan.
func (n *node) tell(ctx context.Context, p *nodes.Plan) {
	logger, old := klog.FromContext(ctx), n.others.plan
	if old == nil || old.MTU != p.MTU || old.Uplink.Name != p.Uplink.Name || old.Uplink.MTU != p.Uplink.MTU {
		logger.Info("Worked out the MTU of pods", "mtu", p.MTU, "mode", n.a.cfg.Mode, "uplink", p.Uplink.Name, "uplinkMTU", p.Uplink.MTU)
	}
	for _, problem := range p.Problems {
		if old == nil || !slices.Contains(old.Problems, problem) {
			logger.Info("Node that can't be reached as it should", "node", problem.Node, "problem", problem.Message)
		}
	}
	if logger := logger.V(2); logger.Enabled() {
		for _, way := range p.Ways {
			if old == nil || !slices.Contains(old.Ways, way) {
				logger.Info("Way to another node's pods", "way", way.String())
			}
		}
	}
	n.others.plan = p
}
