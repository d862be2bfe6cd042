// Package simulate enforces policies on a private Open vSwitch with a dummy
// datapath: real ovs-vswitchd, real flows, no packet that leaves the process,
// no root. The CLI's simulate and the tests that compare with an oracle run on
// it.
package simulate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/ipam"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/policy"
	"github.com/sluice-cni/sluice/pkg/route"
	"github.com/sluice-cni/sluice/pkg/verdict"
)

// bridgeName and gatewayName are those of a node.
const (
	bridgeName  = "br-sluice"
	gatewayName = "sluice0"
)

// Options say what node to simulate.
type Options struct {
	// Node is the node's name.
	Node string
	// PodCIDRs are the node's pod ranges, the first address of each the gateway's.
	PodCIDRs []netip.Prefix
	// Addrs are the node's own addresses; the gateways' are added.
	Addrs []netip.Addr
	// PortAddresses says that pods have the addresses of their ports, whatever the
	// cluster tells.
	PortAddresses bool
	// Others are the cluster's nodes; nil if there is no other.
	Others *Others
	// Watch says which verdicts the node tells of; none if it is zero.
	Watch flows.Watch
	// OnProblem hears of input that can't be used. It may be nil.
	OnProblem func(error)
}

// Bed is a simulated node.
type Bed struct {
	*enforce.Enforcer
	*observe.Observer
	// Bridge is what the enforcer writes.
	Bridge *openflow.Bridge
	// Verdicts tells of verdicts, nil without Options.Watch.
	Verdicts *verdict.Stream

	sandbox *sandbox.Sandbox
	db      *vsdb.DB
	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// Start starts a simulated node. Until it hears of a whole cluster (Emit with a
// Synced event) it enforces nothing.
func Start(ctx context.Context, o Options) (b *Bed, err error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	b = &Bed{stop: stop}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if b.sandbox, err = sandbox.Start(ctx, sandbox.Options{Datapath: sandbox.Dummy}); err != nil {
		return b, err
	}
	if b.db, err = vsdb.Dial(ctx, vsdb.Config{Endpoint: b.sandbox.Endpoint()}); err != nil {
		return b, err
	}
	bridge := vsdb.Bridge{
		Name: bridgeName, DatapathType: vsdb.DatapathDummy, Gateway: gatewayName,
		GatewayMAC: net.HardwareAddr{0x0a, 0x58, 0, 0, 0, 1}, Tables: flows.TableNames(), Prefixes: flows.TablePrefixes(), Limits: flows.TableLimits(),
	}
	if err := b.db.EnsureBridge(ctx, bridge); err != nil {
		return b, err
	}
	state, err := b.db.Bridge(ctx, bridgeName)
	if err != nil {
		return b, err
	}
	of, err := openflow.Open(openflow.Config{Target: bridgeName, RunDir: b.sandbox.RunDir(), Native: true})
	if err != nil {
		return b, err
	}
	b.Bridge = of
	b.Enforcer = enforce.New(enforce.Config{Node: o.Node, Bridge: of, PortAddresses: o.PortAddresses, Services: true, Watch: verdict.Denials(o.Watch), OnProblem: o.OnProblem})
	watched := observe.Config{
		Enforcer: b.Enforcer, Switch: of, Bridge: bridgeName, Node: o.Node,
		Vswitchd: func() (*unixctl.Client, error) { return b.sandbox.Vswitchd(), nil },
	}
	var plan *nodes.Plan
	if o.Others != nil {
		plan = o.plan()
		watched.Network = func() (nodes.Mode, string, *nodes.Plan) { return o.Others.Mode, "geneve", plan }
	}
	b.Observer = observe.New(watched)
	b.stopped.Go(func() { _ = b.Enforcer.Run(running) })
	if o.Watch != (flows.Watch{}) {
		b.Verdicts = verdict.New(verdict.Config{Node: o.Node, Bridge: of, Enforcer: b.Enforcer, Rates: o.Watch, Vswitchd: watched.Vswitchd, Network: watched.Network})
		b.stopped.Go(func() { _ = b.Verdicts.Run(running) })
	}
	node := flows.Node{GatewayOFPort: state.GatewayOFPort, GatewayMAC: state.GatewayMAC, PodCIDRs: o.PodCIDRs, Addrs: o.Addrs, UserspaceConntrack: true}
	for _, c := range o.PodCIDRs {
		gw := c.Masked().Addr().Next()
		node.Gateways, node.Addrs = append(node.Gateways, gw), append(node.Addrs, gw)
		// One of each family.
		if hop := route.ServiceHops[route.FamilyOf(gw)]; !slices.Contains(node.ServiceHops, hop) {
			node.ServiceHops = append(node.ServiceHops, hop)
			if source := ipam.ServiceSource(c); source.IsValid() {
				node.ServiceSources = append(node.ServiceSources, source)
			}
		}
	}
	if plan != nil && o.Others.Mode != nodes.NoEncap {
		if err := b.addTunnel(ctx, plan, &node); err != nil {
			return b, err
		}
	}
	b.SetNode(node)
	if plan != nil {
		for name, r := range plan.Remotes {
			b.SetRemote(name, r)
		}
	}
	return b, nil
}

// Close ends everything that Start started.
func (b *Bed) Close() error {
	b.stop()
	b.stopped.Wait()
	if b.db != nil {
		b.db.Close()
	}
	if b.sandbox != nil {
		return b.sandbox.Close()
	}
	return nil
}

// Attach gives a pod a port with these addresses, as a CNI ADD would, and
// returns when it is on the bridge. Before the cluster is synced it does not
// wait for the flows.
func (b *Bed) Attach(ctx context.Context, pod cluster.Key, uid string, addrs []netip.Addr) error {
	name := portName(pod)
	port, err := b.db.AddPort(ctx, vsdb.PortSpec{
		Bridge: bridgeName, Name: name, Type: "dummy",
		Attachment: vsdb.Attachment{
			PodNamespace: pod.Namespace, PodName: pod.Name, PodUID: uid, ContainerID: name, IfName: "eth0", MAC: macOf(name), Addrs: addrs,
		},
	})
	if err != nil {
		return fmt.Errorf("attach pod %s: %w", pod, err)
	}
	b.TellPort(policy.LocalPort{Name: name, OFPort: port.OFPort, MAC: port.MAC, Addrs: port.Addrs, Pod: pod, UID: uid})
	return nil
}

// Detach takes a pod's port away.
func (b *Bed) Detach(ctx context.Context, pod cluster.Key) error {
	name := portName(pod)
	b.TellPortGone(name)
	return b.db.DeletePort(ctx, name)
}

// Receive lets frames arrive at the port of a pod, or at the gateway's for the
// zero key, as if the other end had sent them.
func (b *Bed) Receive(ctx context.Context, from cluster.Key, frames ...[]byte) error {
	port := gatewayName
	if from != (cluster.Key{}) {
		port = portName(from)
	}
	return b.sandbox.Receive(ctx, port, frames...)
}

// Vswitchd is the control socket of the node's ovs-vswitchd.
func (b *Bed) Vswitchd() *unixctl.Client { return b.sandbox.Vswitchd() }

// Settle returns when no packet is handled any more as flows said before the call.
func (b *Bed) Settle(ctx context.Context) error {
	for range 2 { // a round that is under way may have begun before
		if _, err := b.sandbox.Vswitchd().Call(ctx, "revalidator/wait"); err != nil {
			return err
		}
	}
	return nil
}

// PortMAC returns the Ethernet address of a pod's end of its port.
func PortMAC(pod cluster.Key) net.HardwareAddr { return macOf(portName(pod)) }

func portName(pod cluster.Key) string {
	sum := sha256.Sum256([]byte(pod.String()))
	return "sl" + hex.EncodeToString(sum[:])[:13]
}

// macOf is a locally administered address that follows from a port's name.
func macOf(name string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(name))
	return net.HardwareAddr{0x0a, 0x58, sum[0], sum[1], sum[2], sum[3]}
}
