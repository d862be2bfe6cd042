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

// What was cut must not live on by a packet from its middle: the other side's next
// packet would otherwise begin it anew, the other way round.
func TestOnlyItsFirstPacketBeginsATCPConnection(t *testing.T) {
	sb := sandboxtest.Start(t, sandbox.Dummy)
	p := flows.New()
	flows.ApplySample(t, p)
	load(t, sb, p, "gw", "db", "api", "fresh")
	const ack = 0x10
	for _, c := range []struct {
		name   string
		flags  uint16
		state  string
		passes bool
	}{
		{"first packet", trace.SYN, "trk,new", true},
		{"first packet with ECN", 0xc0 | trace.SYN, "trk,new", true},
		{"packet of no known connection", ack, "trk,new", false},
		{"packet of a known connection", ack, "trk,est", true},
	} {
		tr, err := trace.Run(t.Context(), sb.Vswitchd(), "br", trace.Packet{
			InPort: 3, SrcMAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 3}, DstMAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 1},
			Src: netip.MustParseAddr("10.0.0.3"), Dst: netip.MustParseAddr("10.0.0.2"),
			Protocol: flows.TCP, SrcPort: 40000, DstPort: 5432, TCPFlags: c.flags,
		}, trace.Options{CTNext: []string{c.state}})
		if err != nil {
			t.Fatal(err)
		}
		if passes := !tr.Dropped; passes != c.passes {
			t.Errorf("%s: passes %v, want %v\n%s", c.name, passes, c.passes, tr.Raw)
		}
	}
}
