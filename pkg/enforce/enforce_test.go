package enforce_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/conntrack"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/policy"
)

// bed is a bridge on a dummy datapath with the ports p1, p2 and p3 of the pods
// shop/a, shop/b and shop/c.
type bed struct {
	t       *testing.T
	sandbox *sandbox.Sandbox
	bridge  *openflow.Bridge
	node    flows.Node
	ports   map[string]policy.LocalPort
	// services says that enforcers balance Services.
	services bool
}

var pods = []string{"a", "b", "c"}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, sandbox: sandboxtest.Start(t, sandbox.Dummy), ports: map[string]policy.LocalPort{}}
	db, err := vsdb.Dial(t.Context(), vsdb.Config{Endpoint: b.sandbox.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	gw := net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 1}
	if err := db.EnsureBridge(t.Context(), vsdb.Bridge{
		Name: "br", DatapathType: vsdb.DatapathDummy, Gateway: "gw", GatewayMAC: gw, Tables: flows.TableNames(),
	}); err != nil {
		t.Fatal(err)
	}
	state, err := db.Bridge(t.Context(), "br")
	if err != nil {
		t.Fatal(err)
	}
	b.node = flows.Node{
		GatewayOFPort: state.GatewayOFPort, GatewayMAC: gw, Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, UserspaceConntrack: true,
	}
	for i, pod := range pods {
		p := vsdb.PortSpec{Bridge: "br", Name: "p-" + pod, Type: "dummy", Attachment: vsdb.Attachment{
			PodNamespace: "shop", PodName: pod, ContainerID: pod, IfName: "eth0",
			MAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, byte(i + 2)}, Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 2)})},
		}}
		port, err := db.AddPort(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		b.ports[pod] = policy.LocalPort{
			Name: port.Name, OFPort: port.OFPort, MAC: port.MAC, Addrs: port.Addrs, Pod: cluster.Key{Namespace: "shop", Name: pod},
		}
	}
	if b.bridge, err = openflow.Open(openflow.Config{Target: "br", RunDir: b.sandbox.RunDir()}); err != nil {
		t.Fatal(err)
	}
	return b
}

// run runs an enforcer until the test ends or stop is called.
func (b *bed) run(connections enforce.Connections) (e *enforce.Enforcer, stop func()) {
	e = enforce.New(enforce.Config{
		Node: "n1", Bridge: b.bridge, Connections: connections, PortAddresses: true, Services: b.services, OnProblem: func(err error) { b.t.Log(err) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.Run(ctx); err != nil {
			b.t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	b.t.Cleanup(stop)
	return e, stop
}

func (b *bed) context() context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *bed) sync(e *enforce.Enforcer) {
	b.t.Helper()
	if err := e.Sync(b.context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) dump() []string {
	b.t.Helper()
	fs, err := b.bridge.DumpFlows(b.context())
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, f := range fs {
		out = append(out, openflow.Text(f))
	}
	return out
}

func cluster3() []cluster.Event {
	events := []cluster.Event{{Namespace: &cluster.Namespace{Name: "shop", Labels: map[string]string{"kubernetes.io/metadata.name": "shop"}}}}
	for _, p := range pods {
		events = append(events, cluster.Event{Pod: &cluster.Pod{
			Key: cluster.Key{Namespace: "shop", Name: p}, Node: "n1", Labels: map[string]string{"app": p},
		}})
	}
	return events
}

// only lets pods reach b from those of an app alone.
func only(app string) cluster.Event {
	return cluster.Event{Policy: &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "guard"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "b"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}}},
			}},
		},
	}}
}

func (b *bed) tell(e *enforce.Enforcer) {
	for _, p := range pods {
		e.TellPort(b.ports[p])
	}
	e.SetNode(b.node)
	e.Emit(append(cluster3(), only("a"), cluster.Event{Synced: true}))
}

func TestNothingIsWrittenBeforeTheClusterIsKnown(t *testing.T) {
	b := newBed(t)
	e, _ := b.run(nil)
	for _, p := range pods {
		e.TellPort(b.ports[p])
	}
	e.SetNode(b.node)
	e.Emit(append(cluster3(), only("a")))
	if err := e.Look(b.context(), func(v enforce.View) {
		if v.Ready() || v.Stats().Bundles != 0 {
			t.Errorf("ready %v after %d bundles, before the cluster is known", v.Ready(), v.Stats().Bundles)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if flows := b.dump(); len(flows) != 0 {
		t.Errorf("the bridge has %d flows, want none: %q", len(flows), flows[0])
	}
	e.Emit([]cluster.Event{{Synced: true}})
	b.sync(e)
	if len(b.dump()) == 0 {
		t.Error("the bridge has no flows after the cluster is known")
	}
}

// A pod must be able to go while the API server is away. What an agent before has
// left of it on the bridge goes with the first bundle, before which no port is added.
func TestAPortCanGoBeforeTheClusterIsKnown(t *testing.T) {
	b := newBed(t)
	before, stop := b.run(nil)
	b.tell(before)
	b.sync(before)
	stop()
	e, _ := b.run(nil)
	for _, p := range pods {
		e.TellPort(b.ports[p])
	}
	e.SetNode(b.node)
	gone := b.ports["c"]
	if err := e.DeletePort(b.context(), gone.Name); err != nil {
		t.Fatal(err)
	}
	e.Emit(append(cluster3(), only("a"), cluster.Event{Synced: true}))
	b.sync(e)
	for _, f := range b.dump() {
		if strings.Contains(f, "nw_src="+gone.Addrs[0].String()) {
			t.Errorf("flow of the port that has gone: %s", f)
		}
	}
}

func TestARestartThatChangesNothingWritesNothing(t *testing.T) {
	b := newBed(t)
	e, stop := b.run(nil)
	b.tell(e)
	b.sync(e)
	// History that a new enforcer does not share: numbers must be found again.
	e.Emit([]cluster.Event{only("c")})
	b.sync(e)
	e.Emit([]cluster.Event{only("a")})
	b.sync(e)
	stop()
	e, _ = b.run(nil)
	b.tell(e)
	b.sync(e)
	if err := e.Look(b.context(), func(v enforce.View) {
		if s := v.Stats(); s.Bundles != 0 {
			t.Errorf("a restart wrote %d changes in %d bundles", s.Flows, s.Bundles)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAPortWithAnotherPortsAddressStaysShutAndNothingElseDoes(t *testing.T) {
	b := newBed(t)
	e, _ := b.run(nil)
	b.tell(e)
	b.sync(e)
	thief := b.ports["c"]
	thief.Addrs = b.ports["a"].Addrs
	if err := e.SetPort(b.context(), thief); err == nil {
		t.Error("no error for a port with an address that another has")
	}
	for _, p := range []string{"a", "b"} {
		if err := e.CheckPort(b.context(), b.ports[p].Name); err != nil {
			t.Error(err)
		}
	}
	if err := e.CheckPort(b.context(), thief.Name); err == nil {
		t.Error("the port has flows")
	}
	e.Emit([]cluster.Event{only("c")})
	b.sync(e)
	// The address is free once its owner is gone.
	if err := e.DeletePort(b.context(), b.ports["a"].Name); err != nil {
		t.Fatal(err)
	}
	if err := e.CheckPort(b.context(), thief.Name); err != nil {
		t.Errorf("after the address has become free: %v", err)
	}
}

// What is refused of one thing must not make another lose its turn: a frontend may go
// from one Service to another, a range from one node to another.
func TestWhatGoesFromOneToAnotherBesideAPortThatStaysShutArrives(t *testing.T) {
	b := newBed(t)
	b.services = true
	b.node.ServiceHops, b.node.TunnelOFPort = []netip.Addr{netip.MustParseAddr("169.254.0.252")}, 100
	e, _ := b.run(nil)
	b.tell(e)
	thief := b.ports["c"]
	thief.Addrs = b.ports["a"].Addrs
	if err := e.SetPort(b.context(), thief); err == nil {
		t.Fatal("no error for a port with an address that another has")
	}
	at := netip.MustParseAddrPort("203.0.113.7:80")
	service := func(name string, cluster4 string, external ...netip.Addr) cluster.Event {
		return cluster.Event{Service: &cluster.Service{
			Key: cluster.Key{Namespace: "shop", Name: name}, ClusterIPs: []netip.Addr{netip.MustParseAddr(cluster4)}, ExternalIPs: external,
			Ports: []cluster.ServicePort{{Protocol: "TCP", Port: at.Port()}},
		}}
	}
	remote := func(tunnel, cidr string) flows.Remote {
		return flows.Remote{Tunnel: netip.MustParseAddr(tunnel), PodCIDRs: []netip.Prefix{netip.MustParsePrefix(cidr)}}
	}
	e.SetRemote("n3", remote("192.0.2.3", "10.0.1.0/24"))
	e.Emit([]cluster.Event{service("old", "10.96.0.1", at.Addr()), service("new", "10.96.0.2")})
	b.sync(e)
	// All at once.
	if err := e.Look(b.context(), func(enforce.View) {
		e.SetRemote("n2", remote("192.0.2.2", "10.0.1.0/24"))
		e.SetRemote("n3", remote("192.0.2.3", "10.0.2.0/24"))
		e.Emit([]cluster.Event{service("old", "10.96.0.1"), service("new", "10.96.0.2", at.Addr())})
	}); err != nil {
		t.Fatal(err)
	}
	b.sync(e)
	if err := e.Look(b.context(), func(v enforce.View) {
		if key, _ := v.Pipeline().BalancerAt(flows.TCP, at); key != "shop/new:80/tcp/ipv4" {
			t.Errorf("%s is of %q", at, key)
		}
		for addr, want := range map[string]string{"10.0.1.5": "n2", "10.0.2.5": "n3"} {
			if name, _, _ := v.Pipeline().RemoteByAddr(netip.MustParseAddr(addr)); name != want {
				t.Errorf("%s is behind %q, want %s", addr, name, want)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestLostFlowsAreWrittenAgain(t *testing.T) {
	b := newBed(t)
	e, _ := b.run(nil)
	b.tell(e)
	b.sync(e)
	want := b.dump()
	sandboxtest.Run(t, b.sandbox, "ovs-ofctl", "-O", "OpenFlow15", "del-flows", "br")
	if err := e.CheckPort(b.context(), b.ports["a"].Name); err == nil {
		t.Error("missing flows are not noticed")
	}
	if err := e.Resync(b.context()); err != nil {
		t.Fatal(err)
	}
	if got := b.dump(); len(got) != len(want) {
		t.Errorf("%d flows after resync, want %d", len(got), len(want))
	}
}

// connections are those of the bed's datapath.
type connections struct {
	b *bed
}

func (c connections) Dump(ctx context.Context, zone uint16) ([]conntrack.Entry, error) {
	return conntrack.Dump(ctx, c.b.sandbox.Vswitchd(), sandbox.Dummy, zone)
}

func (c connections) Settle(ctx context.Context) error {
	_, err := c.b.sandbox.Vswitchd().Call(ctx, "revalidator/wait")
	return err
}

func (c connections) Flush(ctx context.Context, zone uint16, t conntrack.Tuple) error {
	return conntrack.Flush(ctx, c.b.sandbox.Vswitchd(), sandbox.Dummy, zone, t)
}

// frame returns a connection's first packet.
func (b *bed) frame(from, to string, port uint16) []byte {
	b.t.Helper()
	src, dst := b.ports[from], b.ports[to]
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src.Addrs[0].AsSlice(), DstIP: dst.Addrs[0].AsSlice()}
	tcp := &layers.TCP{SrcPort: 40000, DstPort: layers.TCPPort(port), SYN: true, Window: 1000}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		b.t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: src.MAC, DstMAC: b.node.GatewayMAC, EthernetType: layers.EthernetTypeIPv4}, ip, tcp); err != nil {
		b.t.Fatal(err)
	}
	return buf.Bytes()
}

// syn sends a connection's first packet.
func (b *bed) syn(from, to string, port uint16) {
	b.t.Helper()
	if err := b.sandbox.Receive(b.context(), b.ports[from].Name, b.frame(from, to, port)); err != nil {
		b.t.Fatal(err)
	}
}

// entries are the tracked connections.
func (b *bed) entries() []conntrack.Entry {
	b.t.Helper()
	entries, err := connections{b: b}.Dump(b.context(), flows.ZoneIPv4)
	if err != nil {
		b.t.Fatal(err)
	}
	return entries
}

func (b *bed) tracked() map[string]conntrack.Entry {
	b.t.Helper()
	out := map[string]conntrack.Entry{}
	for _, e := range b.entries() {
		out[e.Orig.Src.String()+">"+e.Orig.Dst.String()] = e
	}
	return out
}

func TestAPolicyChangeCutsWhatItNoLongerAllowsAndNothingElse(t *testing.T) {
	b := newBed(t)
	e, _ := b.run(connections{b: b})
	b.tell(e)
	b.sync(e)
	const cut, kept = "10.0.0.2>10.0.0.3", "10.0.0.4>10.0.0.2"
	b.syn("a", "b", 80)
	b.syn("c", "a", 80)
	b.syn("c", "b", 80) // denied, so never tracked
	eventually(t, func() bool { return len(b.tracked()) >= 2 })
	live := b.tracked()
	if len(live) != 2 {
		t.Fatalf("tracked: %v, want %s and %s", live, cut, kept)
	}
	var id uint32
	if err := e.Look(b.context(), func(v enforce.View) {
		id, _ = v.Pipeline().RuleID(flows.Ingress, "NetworkPolicy/shop/guard/ingress/0")
	}); err != nil {
		t.Fatal(err)
	}
	if got := live[cut].Labels.Word(1); got != id {
		t.Errorf("ct_label names ingress rule %d, want %d", got, id)
	}
	if got := live[kept].Labels.Word(1); got != 0 {
		t.Errorf("ct_label names ingress rule %d for a pod that is not isolated", got)
	}
	e.Emit([]cluster.Event{only("c")})
	b.sync(e)
	eventually(t, func() bool { _, there := b.tracked()[cut]; return !there })
	if _, there := b.tracked()[kept]; !there {
		t.Errorf("%s was cut, although it is still allowed", kept)
	}
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the condition has not come true in 20 s")
		}
	}
}

// A policy that took the place of another of its name is told with what is wrong
// with it, though both are alike: who listens forgets what was told of the other.
func TestProblemsOfAPolicyAreStillThereAfterItWasMadeAnew(t *testing.T) {
	b := newBed(t)
	e, _ := b.run(nil)
	b.tell(e)
	bad := egress("bad", "10.0.0.0/33", "a")
	for _, uid := range []types.UID{"1", "2"} {
		bad.Policy = bad.Policy.DeepCopy()
		bad.Policy.UID = uid
		e.Emit([]cluster.Event{bad})
		b.sync(e)
		if err := e.Look(b.context(), func(v enforce.View) {
			if got := v.Problems(); len(got) != 1 {
				t.Errorf("policy with uid %s: problems %v, want one", uid, got)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
