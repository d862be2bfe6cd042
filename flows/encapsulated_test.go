package flows_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/flows"
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
