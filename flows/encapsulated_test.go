package flows_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/trace"
)

// The node's stack gives what pods send to other nodes the node's own address.
// Were a tunnel packet among it, the other node would take it for this node's.
func TestPodsSendNoTunnelPacketsOutOfTheCluster(t *testing.T) {
	sb := openSample(t)
	const udp = flows.UDP
	for _, c := range []struct {
		name     string
		src, dst string
		port     uint16
		dropped  bool
	}{
		{"Geneve to another node", "10.0.0.3", "192.168.7.2", 6081, true},
		{"Geneve to another address of it", "10.0.0.3", "192.0.2.2", 6081, true},
		{"VXLAN to another node", "10.0.0.3", "192.168.7.2", 4789, true},
		{"Geneve to another node, over IPv6", "fd00::3", "2001:db8::2", 6081, true},
		{"something else to another node", "10.0.0.3", "192.168.7.2", 6080, false},
		{"Geneve to a pod", "10.0.0.3", "10.0.0.2", 6081, false},
		{"Geneve to a pod there", "10.0.0.3", "10.0.1.5", 6081, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := trace.Run(t.Context(), sb.Vswitchd(), "br", trace.Packet{
				InPort: 3, SrcMAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 3}, DstMAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 1},
				Src: netip.MustParseAddr(c.src), Dst: netip.MustParseAddr(c.dst), Protocol: udp, SrcPort: 40000, DstPort: c.port,
			}, trace.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if tr.Dropped != c.dropped {
				t.Errorf("dropped: %v, want %v\n%s", tr.Dropped, c.dropped, tr.Raw)
			}
		})
	}
}

// Nor does a Service send them: its endpoints may be other nodes, and what comes from
// outside would be given this node's address as well.
func TestServicesSendNoTunnelPacketsOutOfTheCluster(t *testing.T) {
	sb := sandboxtest.Start(t, sandbox.Dummy)
	p, d := flows.New(), flows.Sample()
	for i := range d.Ports {
		d.Ports[i].Port.Subject = [2]flows.Subject{}
	}
	d.Balancers = nil
	add := func(key flows.BalancerKey, nodePort uint16, endpoint string) {
		b := &flows.Balancer{Protocol: flows.UDP, Frontends: []flows.Frontend{{Port: nodePort}}}
		b.Endpoints[flows.ScopeCluster] = []netip.AddrPort{netip.MustParseAddrPort(endpoint)}
		d.Balancers = append(d.Balancers, flows.BalancerChange{Key: key, Balancer: b})
	}
	add("geneve", 30001, "192.168.7.2:6081")
	add("vxlan", 30002, "192.168.7.2:4789")
	add("geneve6", 30001, "[2001:db8::2]:6081")
	add("other", 30003, "192.168.7.2:6080")
	add("pod", 30004, "10.0.1.5:6081")
	if _, err := p.Apply(d); err != nil {
		t.Fatal(err)
	}
	load(t, sb, p, "gw", "db", "api", "fresh", "p5", "p6", "p7", "p8", "tun")
	for _, c := range []struct {
		name     string
		src, dst string
		port     uint16
		dropped  bool
	}{
		{"Geneve to another node", "192.0.2.9", "169.254.0.252", 30001, true},
		{"VXLAN to another node", "192.0.2.9", "169.254.0.252", 30002, true},
		{"Geneve to another node, over IPv6", "2001:db8::9", "fd53::252", 30001, true},
		{"something else to another node", "192.0.2.9", "169.254.0.252", 30003, false},
		{"Geneve to a pod", "192.0.2.9", "169.254.0.252", 30004, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := trace.Run(t.Context(), sb.Vswitchd(), "br", trace.Packet{
				InPort: 1, SrcMAC: d.Node.GatewayMAC, DstMAC: flows.RemoteMAC,
				Src: netip.MustParseAddr(c.src), Dst: netip.MustParseAddr(c.dst), Protocol: flows.UDP, SrcPort: 40000, DstPort: c.port,
			}, trace.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if tr.Dropped != c.dropped {
				t.Errorf("dropped: %v, want %v\n%s", tr.Dropped, c.dropped, tr.Raw)
			}
		})
	}
}
