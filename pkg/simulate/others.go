package simulate

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/route"
)

// tunnelName is the name of a node's tunnel port.
const tunnelName = "sluice-tun0"

// Others are the nodes that a simulated one reaches, as its agent would. What it
// sends to them goes nowhere.
type Others struct {
	Mode nodes.Mode
	// Nodes are all nodes of the cluster, the simulated one among them.
	Nodes []*cluster.Node
}

// plan works out how a simulated node reaches the others. It has one interface, in
// a subnet of 256 addresses (of 2^64, with IPv6).
func (o Options) plan() *nodes.Plan {
	table := nodes.NewTable()
	uplink := route.Interface{Name: "eth0", MTU: 1500, Default: true}
	for _, n := range o.Others.Nodes {
		table.Update([]cluster.Event{{Node: n}})
		if n.Name != o.Node {
			continue
		}
		for _, a := range n.Internal {
			bits := 24
			if a.Is6() {
				bits = 64
			}
			uplink.Addrs = append(uplink.Addrs, netip.PrefixFrom(a, bits))
		}
	}
	return table.Plan(
		nodes.Config{Node: o.Node, Mode: o.Others.Mode, Gateway: gatewayName},
		nodes.Local{PodCIDRs: o.PodCIDRs, Interfaces: []route.Interface{uplink}})
}

// addTunnel gives the bridge a port that stands for the tunnel. Open vSwitch takes
// a packet's way through a real one from the routes of its host.
func (b *Bed) addTunnel(ctx context.Context, plan *nodes.Plan, node *flows.Node) error {
	port, err := b.db.AddPort(ctx, vsdb.PortSpec{
		Bridge: bridgeName, Name: tunnelName, Type: "dummy",
		Attachment: vsdb.Attachment{ContainerID: tunnelName, IfName: tunnelName, MAC: net.HardwareAddr{0x0a, 0x58, 0, 0, 0, 2}, Addrs: plan.TunnelSources},
	})
	if err != nil {
		return err
	}
	node.TunnelOFPort, node.TunnelSources = port.OFPort, plan.TunnelSources
	return nil
}

// Arrive lets frames come out of the tunnel, as if a node had sent them from one
// underlay address to another. A dummy port has no tunnel: they are put at the
// beginning of the pipeline by the controller, with what a tunnel would tell of them.
func (b *Bed) Arrive(ctx context.Context, source, local netip.Addr, frames ...[]byte) error {
	node := flows.Node{}
	var nodeErr error
	if err := errors.Join(b.Look(ctx, func(v enforce.View) { node, nodeErr = v.Node() }), nodeErr); err != nil {
		return err
	}
	for _, frame := range frames {
		out := fmt.Sprintf("in_port=%d packet=%s actions=set_field:%s->tun_src,set_field:%s->tun_dst,resubmit(,%d)",
			node.TunnelOFPort, hex.EncodeToString(frame), source, local, flows.TableClassifier)
		cmd := exec.CommandContext(ctx, "ovs-ofctl", "-O", "OpenFlow15", "packet-out", bridgeName, out)
		cmd.Env = append(os.Environ(), b.sandbox.Env()...)
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("let a packet come out of the tunnel: %w: %s", err, said)
		}
	}
	return nil
}
