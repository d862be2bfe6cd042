package stats_test

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/policy"
	"github.com/sluice-cni/sluice/pkg/stats"
)

// bed is a node on a dummy datapath with the pods shop/a, shop/b and shop/c. Its
// agent, an enforcer and a collector, can be started again.
type bed struct {
	*testing.T
	sandbox *sandbox.Sandbox
	db      *vsdb.DB
	file    string
	pods    map[string]policy.LocalPort
	events  []cluster.Event // all there have been

	*enforce.Enforcer
	*stats.Collector
	stop  func()
	ports uint16 // the last source port
}

var gateway = net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 1}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{T: t, sandbox: sandboxtest.Start(t, sandbox.Dummy), file: filepath.Join(t.TempDir(), "stats.json"), pods: map[string]policy.LocalPort{}}
	var err error
	if b.db, err = vsdb.Dial(t.Context(), vsdb.Config{Endpoint: b.sandbox.Endpoint()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.db.Close)
	if err := b.db.EnsureBridge(t.Context(), vsdb.Bridge{
		Name: "br", DatapathType: vsdb.DatapathDummy, Gateway: "gw", GatewayMAC: gateway, Tables: flows.TableNames(),
	}); err != nil {
		t.Fatal(err)
	}
	b.events = []cluster.Event{{Namespace: &cluster.Namespace{Name: "shop", Labels: map[string]string{"kubernetes.io/metadata.name": "shop"}}}}
	for i, pod := range []string{"a", "b", "c"} {
		port, err := b.db.AddPort(t.Context(), vsdb.PortSpec{Bridge: "br", Name: "p-" + pod, Type: "dummy", Attachment: vsdb.Attachment{
			PodNamespace: "shop", PodName: pod, ContainerID: pod, IfName: "eth0",
			MAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, byte(i + 2)}, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 2)})},
		}})
		if err != nil {
			t.Fatal(err)
		}
		key := cluster.Key{Namespace: "shop", Name: pod}
		b.pods[pod] = policy.LocalPort{Name: port.Name, OFPort: port.OFPort, MAC: port.MAC, Addrs: port.Addrs, Pod: key}
		b.events = append(b.events, cluster.Event{Pod: &cluster.Pod{Key: key, Node: "n1", Labels: map[string]string{"app": pod}}})
	}
	return b
}

// start starts an agent that finds what is there.
func (b *bed) start() {
	b.Helper()
	state, err := b.db.Bridge(b.context(), "br")
	if err != nil {
		b.Fatal(err)
	}
	bridge, err := openflow.Open(openflow.Config{Target: "br", RunDir: b.sandbox.RunDir(), Native: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.Collector = stats.New(ctx, stats.Config{
		Bridge: bridge, File: b.file, Interval: time.Hour, Fresh: 1,
		Look:       func(ctx context.Context, view func(enforce.View)) error { return b.Enforcer.Look(ctx, view) },
		Generation: func() (string, error) { return unixctl.Run(b.sandbox.RunDir(), "ovs-vswitchd") },
	})
	b.Enforcer = enforce.New(enforce.Config{
		Node: "n1", Bridge: bridge, PortAddresses: true, Counters: b.Collector, OnProblem: func(err error) { b.Log(err) },
	})
	var running sync.WaitGroup
	running.Go(func() { _ = b.Enforcer.Run(ctx) })
	running.Go(func() { _ = b.Collector.Run(ctx) })
	b.stop = func() { cancel(); running.Wait() }
	b.Cleanup(b.stop)
	for _, p := range b.pods {
		b.TellPort(p)
	}
	addr := netip.MustParseAddr("10.0.0.1")
	b.SetNode(flows.Node{
		GatewayOFPort: state.GatewayOFPort, GatewayMAC: gateway, Gateways: []netip.Addr{addr},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, Addrs: []netip.Addr{addr}, UserspaceConntrack: true,
	})
	b.Emit(append(append([]cluster.Event{}, b.events...), cluster.Event{Synced: true}))
	b.sync()
}

// tell has the agent, and those after it, hear of a change.
func (b *bed) tell(events ...cluster.Event) {
	b.Helper()
	b.events = append(b.events, events...)
	b.Emit(events)
	b.sync()
}

func (b *bed) sync() {
	b.Helper()
	if err := b.Sync(b.context()); err != nil {
		b.Fatal(err)
	}
}

func (b *bed) context() context.Context {
	ctx, cancel := context.WithTimeout(b.T.Context(), 20*time.Second)
	b.Cleanup(cancel)
	return ctx
}

// guard lets pods reach others from those of an app alone: a rule for each.
func guard(name, to string, from ...string) cluster.Event {
	p := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": to}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}
	for _, app := range from {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{
			From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}}},
		})
	}
	return cluster.Event{Policy: p}
}

func deleted(e cluster.Event) cluster.Event { e.Deleted = true; return e }

// dial sends the first packets of n connections. They are counted when it returns.
func (b *bed) dial(from, to string, n int) {
	b.Helper()
	before := b.handled()
	for range n {
		b.ports++
		if err := b.sandbox.Receive(b.context(), b.pods[from].Name, b.syn(from, to, b.ports)); err != nil {
			b.Fatal(err)
		}
	}
	b.eventually(func() bool { return b.handled() >= before+n })
}

// handled returns how many packets table Classifier has counted.
func (b *bed) handled() (n int) {
	b.Helper()
	if _, err := b.sandbox.Vswitchd().Call(b.context(), "revalidator/purge"); err != nil {
		b.Fatal(err)
	}
	if err := b.bridge().EachCounter(b.context(), []openflow.CounterQuery{{Table: uint8(flows.TableClassifier)}}, func(c openflow.Counter) { n += int(c.Packets) }); err != nil {
		b.Fatal(err)
	}
	return n
}

func (b *bed) bridge() *openflow.Bridge {
	bridge, err := openflow.Open(openflow.Config{Target: "br", RunDir: b.sandbox.RunDir(), Native: true})
	if err != nil {
		b.Fatal(err)
	}
	return bridge
}

func (b *bed) syn(from, to string, port uint16) []byte {
	b.Helper()
	src, dst := b.pods[from], b.pods[to]
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src.Addrs[0].AsSlice(), DstIP: dst.Addrs[0].AsSlice()}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(port), DstPort: 80, SYN: true, Window: 1000}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		b.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: src.MAC, DstMAC: gateway, EthernetType: layers.EthernetTypeIPv4}, ip, tcp); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}

func (b *bed) eventually(cond func() bool) {
	b.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("the condition has not come true in 20 s")
		}
	}
}
