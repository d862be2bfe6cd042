package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

// The zones of the test bridge, one for each family.
const (
	zone4 = 65520
	zone6 = 65521
)

// trackingFlows connect the ports a (1) and b (2) for all that is tracked. The
// cookies tell apart what the tracker said of a packet.
const trackingFlows = `
table=0,ip,actions=ct(table=1,zone=65520)
table=0,ipv6,actions=ct(table=1,zone=65521)
table=1,priority=10,cookie=0x1,ct_state=+trk+new,ip,actions=ct(commit,zone=65520,exec(load:5->NXM_NX_CT_LABEL[0..31],load:9->NXM_NX_CT_LABEL[32..63])),output:2
table=1,priority=10,cookie=0x1,ct_state=+trk+new,ipv6,actions=ct(commit,zone=65521,exec(load:5->NXM_NX_CT_LABEL[0..31])),output:2
table=1,priority=9,cookie=0x2,ct_state=+trk+est-rpl,actions=output:2
table=1,priority=9,cookie=0x3,ct_state=+trk+est+rpl,actions=output:1
`

// What trackingFlows' cookies say of a packet.
const (
	newConn     = "0x1"
	established = "0x2"
	reply       = "0x3"
)

type bed struct {
	*testing.T
	*sandbox.Sandbox
}

func startBed(t *testing.T) bed {
	s := sandboxtest.Start(t, sandbox.Dummy)
	sandboxtest.Run(t, s, "ovs-vsctl", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure",
		"--", "add-port", "br0", "a", "--", "set", "interface", "a", "type=dummy", "ofport_request=1",
		"--", "add-port", "br0", "b", "--", "set", "interface", "b", "type=dummy", "ofport_request=2")
	sandboxtest.RunInput(t, s, trackingFlows, "ovs-ofctl", "add-flows", "br0", "-")
	return bed{t, s}
}

// send lets a packet arrive at a port and waits for what the tracker says of it.
func (b bed) send(port, verdict string, packet []byte) {
	b.Helper()
	// A packet that the datapath's cache does not know is counted at once.
	if _, err := b.Vswitchd().Call(b.Context(), "revalidator/purge"); err != nil {
		b.Fatal(err)
	}
	before := b.count(verdict)
	if err := b.Receive(b.Context(), port, packet); err != nil {
		b.Fatal(err)
	}
	b.eventually(func() error {
		if after := b.count(verdict); after != before+1 {
			return fmt.Errorf("%d packets have the verdict %s, want %d:\n%s", after, verdict, before+1,
				sandboxtest.Run(b, b.Sandbox, "ovs-ofctl", "dump-flows", "br0", "table=1"))
		}
		return nil
	})
}

func (b bed) count(verdict string) (total int) {
	b.Helper()
	for line := range strings.Lines(sandboxtest.Run(b, b.Sandbox, "ovs-ofctl", "dump-flows", "br0", "cookie="+verdict+"/-1")) {
		if _, after, ok := strings.Cut(line, "n_packets="); ok {
			var n int
			fmt.Sscanf(after, "%d", &n)
			total += n
		}
	}
	return total
}

func (b bed) eventually(ask func() error) {
	b.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func (b bed) dump(zone uint16) []Entry {
	b.Helper()
	entries, err := Dump(b.Context(), b.Vswitchd(), sandbox.Dummy, zone)
	if err != nil {
		b.Fatal(err)
	}
	slices.SortFunc(entries, func(x, y Entry) int { return strings.Compare(x.Orig.String(), y.Orig.String()) })
	return entries
}

func (b bed) flush(zone uint16, orig Tuple) error {
	return Flush(b.Context(), b.Vswitchd(), sandbox.Dummy, zone, orig)
}

// frame builds a packet from src to dst with the given transport header.
func frame(src, dst netip.Addr, l4 gopacket.SerializableLayer, payload ...gopacket.SerializableLayer) []byte {
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}}
	protocol := map[gopacket.LayerType]layers.IPProtocol{
		layers.LayerTypeTCP: layers.IPProtocolTCP, layers.LayerTypeUDP: layers.IPProtocolUDP, layers.LayerTypeSCTP: layers.IPProtocolSCTP,
		layers.LayerTypeICMPv4: layers.IPProtocolICMPv4, layers.LayerTypeICMPv6: layers.IPProtocolICMPv6,
	}[l4.LayerType()]
	var ip interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	}
	if src.Is4() {
		eth.EthernetType = layers.EthernetTypeIPv4
		ip = &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	if l4, ok := l4.(interface {
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	}); ok {
		if err := l4.SetNetworkLayerForChecksum(ip); err != nil {
			panic(err)
		}
	}
	buf := gopacket.NewSerializeBuffer()
	all := append([]gopacket.SerializableLayer{eth, ip, l4}, payload...)
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

func udpPacket(src, dst netip.Addr, sport, dport uint16) []byte {
	return frame(src, dst, &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}, gopacket.Payload("x"))
}

func TestConnectionsOfBothFamilies(t *testing.T) {
	b := startBed(t)
	for _, tc := range []struct {
		src, dst netip.Addr
		zone     uint16
		labels   Labels
		ping     gopacket.SerializableLayer
		payload  []gopacket.SerializableLayer
		icmp     uint8
		types    [2]uint8
	}{
		{src: v4a, dst: v4b, zone: zone4, labels: Labels{Lo: 9<<32 | 5},
			ping: &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 77}, icmp: icmp, types: [2]uint8{8, 0}},
		{src: v6a, dst: v6b, zone: zone6, labels: Labels{Lo: 5},
			ping:    &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)},
			payload: []gopacket.SerializableLayer{&layers.ICMPv6Echo{Identifier: 77}}, icmp: icmpv6, types: [2]uint8{128, 129}},
	} {
		b.send("a", newConn, frame(tc.src, tc.dst, &layers.TCP{SrcPort: 1000, DstPort: 80, SYN: true, Seq: 100, Window: 1000}))
		b.send("b", reply, frame(tc.dst, tc.src, &layers.TCP{SrcPort: 80, DstPort: 1000, SYN: true, ACK: true, Seq: 500, Ack: 101, Window: 1000}))
		b.send("a", established, frame(tc.src, tc.dst, &layers.TCP{SrcPort: 1000, DstPort: 80, ACK: true, Seq: 101, Ack: 501, Window: 1000}))
		b.send("a", newConn, udpPacket(tc.src, tc.dst, 2000, 53))
		b.send("a", newConn, frame(tc.src, tc.dst, tc.ping, tc.payload...))

		want := []Entry{
			{Orig: Tuple{Protocol: tc.icmp, Src: tc.src, Dst: tc.dst, ICMPID: 77, ICMPType: tc.types[0]},
				Reply: Tuple{Protocol: tc.icmp, Src: tc.dst, Dst: tc.src, ICMPID: 77, ICMPType: tc.types[1]}},
			{Orig: ports(tcp, tc.src, tc.dst, 1000, 80), Reply: ports(tcp, tc.dst, tc.src, 80, 1000), State: "ESTABLISHED"},
			{Orig: ports(udp, tc.src, tc.dst, 2000, 53), Reply: ports(udp, tc.dst, tc.src, 53, 2000)},
		}
		for i := range want {
			want[i].Zone, want[i].Labels = tc.zone, tc.labels
		}
		if diff := cmp.Diff(want, b.dump(tc.zone), equalAddrs); diff != "" {
			t.Errorf("zone %d: -want +got\n%s", tc.zone, diff)
		}
	}
}

func TestFlushRemovesOneConnection(t *testing.T) {
	b := startBed(t)
	for _, tc := range []struct {
		src, dst netip.Addr
		zone     uint16
	}{{v4a, v4b, zone4}, {v6a, v6b, zone6}} {
		cut, kept := ports(udp, tc.src, tc.dst, 2000, 53), ports(udp, tc.src, tc.dst, 2001, 53)
		for _, c := range []Tuple{cut, kept} {
			b.send("a", newConn, udpPacket(c.Src, c.Dst, c.SrcPort, c.DstPort))
		}
		for range 2 { // the second finds it gone
			if err := b.flush(tc.zone, cut); err != nil {
				t.Fatal(err)
			}
			if got := b.dump(tc.zone); len(got) != 1 || got[0].Orig != kept {
				t.Errorf("zone %d: %v", tc.zone, got)
			}
		}
		// The connection is judged anew.
		b.send("a", newConn, udpPacket(tc.src, tc.dst, 2000, 53))
	}
}

func TestFlushOfPings(t *testing.T) {
	b := startBed(t)
	b.send("a", newConn, frame(v4a, v4b, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 77}))
	if err := b.flush(zone4, b.dump(zone4)[0].Orig); err != nil {
		t.Error(err)
	}
	if got := b.dump(zone4); len(got) != 0 {
		t.Errorf("left: %v", got)
	}

	// ovs-vswitchd would abort.
	b.send("a", newConn, frame(v6a, v6b, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}, &layers.ICMPv6Echo{Identifier: 77}))
	if err := b.flush(zone6, b.dump(zone6)[0].Orig); !errors.Is(err, ErrUnflushable) {
		t.Errorf("error %v", err)
	}
	if got := b.dump(zone6); len(got) != 1 {
		t.Errorf("left: %v", got)
	}
}

func TestFlushZoneLeavesOtherZones(t *testing.T) {
	b := startBed(t)
	b.send("a", newConn, udpPacket(v4a, v4b, 1, 2))
	b.send("a", newConn, udpPacket(v6a, v6b, 1, 2))
	if err := FlushZone(t.Context(), b.Vswitchd(), sandbox.Dummy, zone6); err != nil {
		t.Fatal(err)
	}
	if n4, n6 := len(b.dump(zone4)), len(b.dump(zone6)); n4 != 1 || n6 != 0 {
		t.Errorf("%d and %d connections are left in the zones, want 1 and 0", n4, n6)
	}
}

func TestFlushOfPortZeroMeansEveryPort(t *testing.T) {
	b := startBed(t)
	for sport := range uint16(3) {
		b.send("a", newConn, udpPacket(v4a, v4b, 1000+sport, 53))
	}
	b.send("a", newConn, udpPacket(v4a, v4b, 1000, 54))
	if err := b.flush(zone4, ports(udp, v4a, v4b, 0, 53)); err != nil {
		t.Fatal(err)
	}
	if got := b.dump(zone4); len(got) != 1 || got[0].Orig.DstPort != 54 {
		t.Errorf("left: %v", got)
	}
}

func TestBadCallsAreNamed(t *testing.T) {
	b := startBed(t)
	if err := b.flush(zone4, ports(udp, v4a, v6b, 1, 2)); err == nil || !strings.Contains(err.Error(), "one family") {
		t.Errorf("flush with two families: %v", err)
	}
	if _, err := Dump(t.Context(), b.Vswitchd(), "system", zone4); err == nil || !strings.Contains(err.Error(), "dump connections of zone 65520") {
		t.Errorf("dump of a datapath that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dump(ctx, b.Vswitchd(), sandbox.Dummy, zone4); !errors.Is(err, context.Canceled) {
		t.Errorf("dump after the end of its context: %v", err)
	}
}
