package verdict_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
	"github.com/sluice-cni/sluice/pkg/verdict"
	"github.com/sluice-cni/sluice/test/need"
)

// bed is a node with the pods shop/a, shop/b and shop/c. Nobody but a may speak to
// b, by NetworkPolicy shop/guard, and that on port 80.
type bed struct {
	*simulate.Bed
	t *testing.T
}

var podA, podB, podC = pod("a"), pod("b"), pod("c")

func pod(name string) cluster.Key { return cluster.Key{Namespace: "shop", Name: name} }

func addrOf(p cluster.Key) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, 2 + p.Name[0] - 'a'}) }

func newBed(t *testing.T, watch flows.Watch) *bed {
	t.Helper()
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	b, err := simulate.Start(t.Context(), simulate.Options{
		Node: "n1", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}, PortAddresses: true, Watch: watch,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range []cluster.Key{podA, podB, podC} {
		if err := b.Attach(t.Context(), p, p.Name, []netip.Addr{addrOf(p)}); err != nil {
			t.Fatal(err)
		}
	}
	b.Emit(objects())
	bed := &bed{Bed: b, t: t}
	if err := b.Sync(bed.context()); err != nil {
		t.Fatal(err)
	}
	bed.await(func(s api.WatchStatus) bool { return s.Problem == "" })
	return bed
}

// objects are all of the cluster.
func objects() []cluster.Event {
	events := []cluster.Event{{Namespace: &cluster.Namespace{Name: "shop"}}}
	for _, p := range []cluster.Key{podA, podB, podC} {
		events = append(events, cluster.Event{Pod: &cluster.Pod{Key: p, Node: "n1", Labels: map[string]string{"app": p.Name}}})
	}
	web := networkingv1.NetworkPolicyPort{Port: new(intOrString(80))}
	return append(events, cluster.Event{Policy: &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "guard"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "b"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}}},
				Ports: []networkingv1.NetworkPolicyPort{web},
			}},
		},
	}}, cluster.Event{Synced: true})
}

func (b *bed) context() context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	b.t.Cleanup(cancel)
	return ctx
}

// await waits for a status of the stream.
func (b *bed) await(wanted func(api.WatchStatus) bool) api.WatchStatus {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		s, err := b.Verdicts.Status(b.context())
		if err == nil && wanted(s) {
			return s
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("the stream's status has not become what it should in 20 s: %+v, %v", s, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// syn is the first packet of a connection, sent by a pod under an address.
func syn(t testing.TB, from cluster.Key, src, dst netip.Addr, srcPort, port uint16) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(srcPort), DstPort: layers.TCPPort(port), SYN: true, Window: 1000}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: simulate.PortMAC(from), DstMAC: simulate.PortMAC(podA), EthernetType: layers.EthernetTypeIPv4}, ip, tcp); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// connect lets a pod begin connections to another one.
func (b *bed) connect(from, to cluster.Key, srcPort, port uint16, times int) {
	b.t.Helper()
	var frames [][]byte
	for i := range times {
		frames = append(frames, syn(b.t, from, addrOf(from), addrOf(to), srcPort+uint16(i), port))
	}
	if err := b.Receive(b.context(), from, frames...); err != nil {
		b.t.Fatal(err)
	}
}

// next waits for an event.
func (b *bed) next(r *verdict.Reader) []*api.Event {
	b.t.Helper()
	events, lost, err := r.Next(b.context())
	if err != nil || lost > 0 {
		b.t.Fatalf("no event: %v, %d lost", err, lost)
	}
	return events
}
