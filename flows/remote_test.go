package flows_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/trace"
)

// openSample is a switch with the sample's flows as they are without policies,
// and with the tunnel as port 9.
func openSample(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	sb := sandboxtest.Start(t, sandbox.Dummy)
	p := flows.New()
	d := flows.Sample()
	for i := range d.Ports {
		d.Ports[i].Port.Subject = [2]flows.Subject{}
	}
	if _, err := p.Apply(d); err != nil {
		t.Fatal(err)
	}
	load(t, sb, p, "gw", "db", "api", "fresh", "p5", "p6", "p7", "p8", "tun")
	return sb
}

// The sample's second node has the pod ranges 10.0.1.0/24 and fd00:1::/64 and
// the underlay address 192.168.7.2; port 9 is the tunnel.
func TestPacketsOfOtherNodesGoByTheTunnelAndComeFromNowhereElse(t *testing.T) {
	sb := openSample(t)
	const tunnel, gateway, api = 9, 1, 3
	apiMAC, gwMAC := net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 3}, net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 1}
	for _, c := range []struct {
		name     string
		in       uint32
		src, dst string
		extra    string
		out      uint32 // zero: dropped
		final    string // in the packet as it leaves
	}{
		{"pod to a pod there", api, "10.0.0.3", "10.0.1.5", "", tunnel, "tun_src=192.168.7.1,tun_dst=192.168.7.2"},
		{"the same over IPv6", api, "fd00::3", "fd00:1::5", "", tunnel, "tun_src=192.168.7.1,tun_dst=192.168.7.2"},
		{"node to a pod there", gateway, "10.0.0.1", "10.0.1.5", "", tunnel, "tun_src=192.168.7.1,tun_dst=192.168.7.2"},
		{"pod to the node there", api, "10.0.0.3", "10.0.1.1", "", tunnel, "nw_ttl=63"},
		{"pod there to a pod here", tunnel, "10.0.1.5", "10.0.0.3", "tun_src=192.168.7.2", api, "dl_dst=0a:58:0a:00:00:03"},
		{"pod there to this node", tunnel, "10.0.1.5", "10.0.0.1", "tun_src=192.168.7.2", gateway, "dl_dst=0a:58:0a:00:00:01"},
		{"from a foreign tunnel end", tunnel, "10.0.1.5", "10.0.0.3", "tun_src=192.168.7.3", 0, ""},
		{"from the tunnel under a pod's address of here", tunnel, "10.0.0.2", "10.0.0.3", "tun_src=192.168.7.2", 0, ""},
		{"from the tunnel to a pod there", tunnel, "10.0.1.5", "10.0.1.6", "tun_src=192.168.7.2", 0, ""},
		{"from the tunnel to outside", tunnel, "10.0.1.5", "192.0.2.1", "tun_src=192.168.7.2", 0, ""},
		{"pod under an address of there", api, "10.0.1.5", "10.0.0.2", "", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			packet := trace.Packet{
				InPort: c.in, SrcMAC: flows.RemoteMAC, DstMAC: flows.RemoteMAC, Extra: c.extra,
				Src: netip.MustParseAddr(c.src), Dst: netip.MustParseAddr(c.dst), Protocol: flows.TCP, SrcPort: 40000, DstPort: 80, TCPFlags: trace.SYN,
			}
			if c.in == api {
				packet.SrcMAC, packet.DstMAC = apiMAC, gwMAC
			}
			tr, err := trace.Run(t.Context(), sb.Vswitchd(), "br", packet, trace.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if c.out == 0 && !tr.Dropped || c.out != 0 && !slices.Equal(tr.Outputs, []uint32{c.out}) {
				t.Errorf("leaves by %v, want %d\n%s", tr.Outputs, c.out, tr.Raw)
			}
			if !strings.Contains(tr.FinalFlow, c.final) {
				t.Errorf("leaves as %s, want %s", tr.FinalFlow, c.final)
			}
		})
	}
}

// A service proxy on the node gives a pod's connection another pod as its
// destination and sends it back in by the gateway. The other pod's answers have
// to pass the proxy again.
func TestAnswersToWhatCameByTheGatewayGoBackThere(t *testing.T) {
	sb := sandboxtest.Start(t, sandbox.Dummy)
	p := flows.New()
	flows.ApplySample(t, p)
	load(t, sb, p, "gw", "db", "api", "fresh")
	for mark, want := range map[string]uint32{"ct_mark=0x2": 1, "ct_mark=0x1": 2} {
		tr, err := trace.Run(t.Context(), sb.Vswitchd(), "br", trace.Packet{
			InPort: 3, SrcMAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 3}, DstMAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 1}, Extra: mark,
			Src: netip.MustParseAddr("10.0.0.3"), Dst: netip.MustParseAddr("10.0.0.2"), Protocol: flows.TCP, SrcPort: 80, DstPort: 40000,
		}, trace.Options{CTNext: []string{"trk,est,rpl"}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tr.Outputs, []uint32{want}) {
			t.Errorf("%s: an answer leaves by %v, want %d\n%s", mark, tr.Outputs, want, tr.Raw)
		}
	}
}
