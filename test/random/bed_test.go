package random

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/pkg/policy"
)

// bed is the node of a cluster on a real ovs-vswitchd: what a cluster says goes
// through the policy compiler and the pipeline onto a bridge, as in the agent
// but without its goroutines, and connections are traced there.
type bed struct {
	ctx      context.Context
	ctl      *unixctl.Client
	bridge   *openflow.Bridge
	compiler *policy.Compiler
	pipeline *flows.Pipeline
	now      *Cluster
	ports    map[string]*policy.LocalPort // by name
	free     []uint32                     // OpenFlow ports of no pod
}

const (
	bedBridge  = "br-sluice"
	bedGateway = 1
	bedPorts   = 200 // more than a node of a Large cluster has pods
	bedWait    = time.Minute
)

var bedGatewayMAC = net.HardwareAddr{0x0a, 0x58, 0, 0, 0, 1}

// newBed starts a bridge with ports enough for any cluster.
func newBed(t testing.TB) *bed {
	sb := sandboxtest.Start(t, "dummy")
	args := []string{
		"--db=" + sb.Endpoint(),
		"add-br", bedBridge, "--", "set", "bridge", bedBridge, "datapath_type=dummy", "fail_mode=secure", "protocols=OpenFlow15",
	}
	for n := bedGateway; n <= bedGateway+bedPorts; n++ {
		name := fmt.Sprintf("p%d", n)
		args = append(args, "--", "add-port", bedBridge, name, "--", "set", "interface", name, "type=dummy", fmt.Sprintf("ofport_request=%d", n))
	}
	sandboxtest.Run(t, sb, "ovs-vsctl", args...)
	bridge, err := openflow.Open(openflow.Config{Target: bedBridge, RunDir: sb.RunDir()})
	must(t, err)
	b := &bed{ctx: t.Context(), ctl: unixctl.New(sb.VswitchdCtl()), bridge: bridge}
	ctx, cancel := context.WithTimeout(b.ctx, bedWait)
	defer cancel()
	must(t, bridge.Wait(ctx))
	return b
}

// load forgets what was enforced and enforces a cluster from scratch. What the
// bridge holds is found out and only the difference written.
func (b *bed) load(w *Cluster) error {
	b.compiler, b.pipeline = policy.New(w.Node), flows.New()
	b.now, b.ports, b.free = nil, map[string]*policy.LocalPort{}, nil
	for n := uint32(bedGateway + bedPorts); n > bedGateway; n-- {
		b.free = append(b.free, n)
	}
	gateways, addrs := gatewayAddrs(0), nodeAddrs(0)
	node := &flows.Node{GatewayOFPort: bedGateway, GatewayMAC: bedGatewayMAC, Gateways: gateways[:], Addrs: append(addrs[:], gateways[:]...)}
	for _, text := range podCIDRs(0) {
		node.PodCIDRs = append(node.PodCIDRs, netip.MustParsePrefix(text))
	}
	if _, err := b.pipeline.Apply(flows.Delta{Node: node}); err != nil {
		return fmt.Errorf("setting the node: %w", err)
	}
	if _, err := b.compile(w); err != nil {
		return err
	}
	actual, err := b.bridge.DumpFlows(b.ctx)
	if err != nil {
		return err
	}
	return b.bridge.Commit(b.ctx, openflow.Diff(b.pipeline.Flows(), actual))
}

// edit goes on from the cluster before and writes what changes.
func (b *bed) edit(w *Cluster) error {
	changes, err := b.compile(w)
	if err != nil {
		return err
	}
	return b.bridge.Commit(b.ctx, &openflow.Transaction{Add: changes.Add, Delete: changes.Delete})
}

// compile tells the compiler what changes and the pipeline what follows.
func (b *bed) compile(w *Cluster) (flows.Changes, error) {
	var events []cluster.Event
	for _, g := range Diff(b.now, w) {
		e := cluster.Event{Deleted: g.Deleted}
		switch {
		case g.Namespace != nil:
			e.Namespace = cluster.TrimNamespace(g.Namespace)
		case g.Policy != nil:
			e.Policy = cluster.TrimPolicy(g.Policy)
		case g.Pod != nil:
			pod, err := cluster.TrimPod(g.Pod)
			if err != nil {
				return flows.Changes{}, fmt.Errorf("trimming pod %s/%s: %w", g.Pod.Namespace, g.Pod.Name, err)
			}
			e.Pod = pod
		}
		events = append(events, e)
	}
	if b.now == nil {
		events = append(events, cluster.Event{Synced: true})
	}
	b.now = w
	b.compiler.Update(events...)
	b.setPorts()
	delta, _ := b.compiler.Flush()
	changes, err := b.pipeline.Apply(delta)
	if err != nil {
		return changes, fmt.Errorf("applying %+v: %w", delta, err)
	}
	return changes, nil
}

// setPorts attaches and detaches the pods of the node. A port is its pod's, so
// that a pod of the same name but another uid gets another one.
func (b *bed) setPorts() {
	want := map[string]policy.LocalPort{}
	for _, p := range b.now.Pods {
		if addrs := PortAddrs(p); p.Spec.NodeName == b.now.Node && len(addrs) > 0 {
			name := fmt.Sprintf("sl-%s-%s-%s", p.Namespace, p.Name, p.UID)
			want[name] = policy.LocalPort{Name: name, Addrs: addrs, Pod: cluster.Key{Namespace: p.Namespace, Name: p.Name}, UID: string(p.UID)}
		}
	}
	for name, p := range b.ports {
		if _, ok := want[name]; !ok {
			b.compiler.DeletePort(name)
			b.free = append(b.free, p.OFPort)
			delete(b.ports, name)
		}
	}
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if b.ports[name] != nil {
			continue
		}
		p := want[name]
		p.OFPort = b.free[len(b.free)-1]
		b.free = b.free[:len(b.free)-1]
		p.MAC = net.HardwareAddr{0x0a, 0x58, 0, 1, byte(p.OFPort >> 8), byte(p.OFPort)}
		b.ports[name] = &p
		b.compiler.SetPort(p)
	}
}

// verify fails if the bridge does not hold what the pipeline says.
func (b *bed) verify() error {
	actual, err := b.bridge.DumpFlows(b.ctx)
	if err != nil {
		return err
	}
	if d := openflow.Diff(b.pipeline.Flows(), actual); !d.Empty() {
		return fmt.Errorf("the bridge differs from the pipeline by\n%s", d)
	}
	return nil
}

// at returns the port that has an address.
func (b *bed) at(a netip.Addr) *policy.LocalPort {
	for _, p := range b.ports {
		if slices.Contains(p.Addrs, a) {
			return p
		}
	}
	return nil
}

var protocolNumbers = map[string][2]uint8{"TCP": {6, 6}, "UDP": {17, 17}, "SCTP": {132, 132}, "ICMP": {1, 58}}

// judge traces a connection. That it is let through means that its first packet
// leaves by its destination's port, or by the gateway; and the trace must give
// the oracle's reasons too.
func (b *bed) judge(conn oracle.Conn) (bool, string, error) {
	p := trace.Packet{
		InPort: bedGateway, SrcMAC: bedGatewayMAC, DstMAC: bedGatewayMAC, Src: conn.Src.Addr, Dst: conn.Dst.Addr,
		Protocol: protocolNumbers[string(conn.Protocol)][one(conn.Src.Addr.Is6())], SrcPort: 40000, DstPort: conn.Port,
	}
	if p.Protocol == flows.TCP {
		p.TCPFlags = trace.SYN
	}
	want := uint32(bedGateway)
	src, dst := b.at(conn.Src.Addr), b.at(conn.Dst.Addr)
	if src == nil && dst == nil {
		return false, "", fmt.Errorf("neither end has a port here")
	}
	if src != nil {
		p.InPort, p.SrcMAC = src.OFPort, src.MAC
	} else {
		p.DstMAC = dst.MAC
	}
	if dst != nil {
		want = dst.OFPort
	}
	tr, err := trace.Run(b.ctx, b.ctl, bedBridge, p, trace.Options{Tables: flows.TableNames()})
	if err != nil {
		return false, "", err
	}
	detail := narrate(tr)
	if len(tr.Errors) > 0 || tr.Incomplete {
		return false, detail, fmt.Errorf("the trace has errors: %v, incomplete: %v", tr.Errors, tr.Incomplete)
	}
	allowed := len(tr.Outputs) > 0
	if allowed && !slices.Equal(tr.Outputs, []uint32{want}) {
		return true, detail, fmt.Errorf("the packet leaves by %v, not by %d", tr.Outputs, want)
	}
	return allowed, detail, b.reasons(conn, allowed, tr)
}

// narrate says a trace in few lines.
func narrate(tr *trace.Trace) string {
	var s strings.Builder
	for _, step := range tr.Steps {
		fmt.Fprintf(&s, "  %-16s %-28s %s -> %s\n", step.TableName, flows.Cookie(step.Cookie), step.Match, strings.Join(step.Actions, ","))
	}
	return s.String()
}
