package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/test/bed"
)

// link is a packet socket on an interface (packet(7)): it sees and sends whole
// frames.
type link struct {
	fd    int
	index int

	mu     sync.Mutex
	frames [][]byte // what came in, not what went out
	done   chan struct{}
}

// openLink opens a packet socket that gathers what arrives on an interface of a
// host.
func openLink(t testing.TB, h *bed.Host, name string) *link {
	t.Helper()
	l := &link{done: make(chan struct{})}
	err := h.Do(func() error {
		dev, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		l.index = dev.Attrs().Index
		all := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8) // in network byte order
		if l.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
			return err
		}
		return unix.Bind(l.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.index})
	})
	if err != nil {
		t.Fatalf("packet socket on %s of %s: %v", name, h.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go l.gather(ctx)
	t.Cleanup(func() {
		cancel()
		<-l.done
		unix.Close(l.fd)
	})
	return l
}

func (l *link) gather(ctx context.Context) {
	defer close(l.done)
	buffer := make([]byte, 1<<16)
	for ctx.Err() == nil {
		n, from, err := unix.Recvfrom(l.fd, buffer, 0)
		if err != nil {
			continue // nothing came for a while
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		l.mu.Lock()
		l.frames = append(l.frames, bytes.Clone(buffer[:n]))
		l.mu.Unlock()
	}
}

// saw reports whether a frame with the given bytes came in.
func (l *link) saw(mark []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.frames {
		if bytes.Contains(f, mark) {
			return true
		}
	}
	return false
}

func (l *link) send(ls ...gopacket.SerializableLayer) error {
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		return err
	}
	return unix.Sendto(l.fd, buffer.Bytes(), 0, &unix.SockaddrLinklayer{Ifindex: l.index})
}

// end is one end of a crafted packet.
type end struct {
	mac  net.HardwareAddr
	addr netip.Addr
}

// datagram returns the layers of a datagram with a text.
func datagram(from, to end, text string) []gopacket.SerializableLayer {
	udp := &layers.UDP{SrcPort: 4000, DstPort: 80}
	eth := &layers.Ethernet{SrcMAC: from.mac, DstMAC: to.mac, EthernetType: layers.EthernetTypeIPv6}
	if to.addr.Is4() {
		eth.EthernetType = layers.EthernetTypeIPv4
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.addr.AsSlice(), DstIP: to.addr.AsSlice()}
		_ = udp.SetNetworkLayerForChecksum(ip) // for IP layers it does not fail
		return []gopacket.SerializableLayer{eth, ip, udp, gopacket.Payload(text)}
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from.addr.AsSlice(), DstIP: to.addr.AsSlice()}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return []gopacket.SerializableLayer{eth, ip, udp, gopacket.Payload(text)}
}

// arp returns the layers of an ARP packet (RFC 826).
func arp(op uint16, to net.HardwareAddr, sender, target end) []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{
		&layers.Ethernet{SrcMAC: sender.mac, DstMAC: to, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
			SourceHwAddress: sender.mac, SourceProtAddress: sender.addr.AsSlice(),
			DstHwAddress: target.mac, DstProtAddress: target.addr.AsSlice(),
		},
	}
}

// discovery returns the layers of a message of neighbour discovery (RFC 4861).
func discovery(kind uint8, from, to end, body gopacket.SerializableLayer) []gopacket.SerializableLayer {
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.addr.AsSlice(), DstIP: to.addr.AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	_ = icmp.SetNetworkLayerForChecksum(ip)
	return []gopacket.SerializableLayer{
		&layers.Ethernet{SrcMAC: from.mac, DstMAC: to.mac, EthernetType: layers.EthernetTypeIPv6}, ip, icmp, body,
	}
}

var (
	broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	unknown   = net.HardwareAddr{0, 0, 0, 0, 0, 0}
	forged    = net.HardwareAddr{0x02, 0xbb, 0xad, 0xbb, 0xad, 0x01} // nobody's
	allNodes  = end{net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, netip.MustParseAddr("ff02::1")}
)

// macOf returns the hardware address of an interface of a host.
func macOf(t testing.TB, h *bed.Host, name string) (mac net.HardwareAddr) {
	t.Helper()
	err := h.Do(func() error {
		dev, err := netlink.LinkByName(name)
		if err == nil {
			mac = dev.Attrs().HardwareAddr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

func TestPodCannotPretendToBeAnother(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "forgery", nil)
	attacker := n.pod(t, "forgery", "attacker", nil)
	victim := n.pod(t, "forgery", "victim", nil)
	other := n.pod(t, "forgery", "other", nil)
	both := hosts(attacker, victim)
	n.check(t, between(both, both)...) // who is who on the link is known now
	wire := openLink(t, &attacker.Host, "eth0")
	watched := map[string]*link{
		"the victim": openLink(t, &victim.Host, "eth0"), "the node": openLink(t, n.Node, "sluice0"), "the attacker": wire,
	}
	mac, gatewayMAC := macOf(t, &attacker.Host, "eth0"), macOf(t, n.Node, "sluice0")

	type forgery struct {
		what string
		mark []byte // what is nowhere to be seen
		ls   []gopacket.SerializableLayer
	}
	var forgeries []forgery
	for _, family := range []int{4, 6} {
		gateway := end{gatewayMAC, n.gateways[0]}
		if family == 6 {
			gateway.addr = n.gateways[1]
		}
		own, target := end{mac, attacker.Addr(family)}, end{gatewayMAC, victim.Addr(family)}
		for what, from := range map[string]end{
			"another pod's address":         {mac, other.Addr(family)},
			"the gateway's address":         {mac, gateway.addr},
			"the gateway's, both addresses": gateway,
			"an address outside":            {mac, choose(family == 4, other4, other6)},
			"a forged hardware address":     {forged, own.addr},
		} {
			text := fmt.Sprintf("forgery: IPv%d, %s", family, what)
			forgeries = append(forgeries, forgery{text, []byte(text), datagram(from, target, text)})
		}
		text := fmt.Sprintf("forgery: IPv%d, not by way of the gateway", family)
		direct := end{macOf(t, &victim.Host, "eth0"), victim.Addr(family)}
		forgeries = append(forgeries, forgery{text, []byte(text), datagram(end{forged, own.addr}, direct, text)})
	}
	own4, own6 := end{mac, attacker.Addr(4)}, end{mac, attacker.Addr(6)}
	mark := forged[:5]
	option := func(kind layers.ICMPv6Opt) layers.ICMPv6Options {
		return layers.ICMPv6Options{{Type: kind, Data: forged}}
	}
	forgeries = append(forgeries,
		forgery{"ARP announcement of the gateway", mark, arp(layers.ARPReply, broadcast, end{forged, n.gateways[0]}, end{forged, n.gateways[0]})},
		forgery{"ARP answer for the gateway", mark, arp(layers.ARPReply, macOf(t, &victim.Host, "eth0"), end{forged, n.gateways[0]}, end{unknown, victim.Addr(4)})},
		forgery{"ARP request in another's name", mark, arp(layers.ARPRequest, broadcast, end{forged, other.Addr(4)}, end{unknown, n.gateways[0]})},
		forgery{"ARP request with a forged hardware address", mark, arp(layers.ARPRequest, broadcast, end{forged, own4.addr}, end{unknown, n.gateways[0]})},
		forgery{"advertisement of the gateway", mark, discovery(layers.ICMPv6TypeNeighborAdvertisement, end{mac, n.gateways[1]}, allNodes,
			&layers.ICMPv6NeighborAdvertisement{Flags: 0x20, TargetAddress: n.gateways[1].AsSlice(), Options: option(layers.ICMPv6OptTargetAddress)})},
		forgery{"advertisement of another pod", mark, discovery(layers.ICMPv6TypeNeighborAdvertisement, own6, end{gatewayMAC, n.gateways[1]},
			&layers.ICMPv6NeighborAdvertisement{Flags: 0x20, TargetAddress: other.Addr(6).AsSlice(), Options: option(layers.ICMPv6OptTargetAddress)})},
		forgery{"router advertisement", mark, discovery(layers.ICMPv6TypeRouterAdvertisement, own6, allNodes,
			&layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: 1800, Options: option(layers.ICMPv6OptSourceAddress)})},
		forgery{"solicitation in another's name", mark, discovery(layers.ICMPv6TypeNeighborSolicitation, end{forged, other.Addr(6)}, allNodes,
			&layers.ICMPv6NeighborSolicitation{TargetAddress: n.gateways[1].AsSlice(), Options: option(layers.ICMPv6OptSourceAddress)})},
	)
	for _, f := range forgeries {
		if err := wire.send(f.ls...); err != nil {
			t.Fatalf("%s: %v", f.what, err)
		}
	}
	// What is right arrives by the same way, after the rest.
	for _, family := range []int{4, 6} {
		text := fmt.Sprintf("honest: IPv%d", family)
		if err := wire.send(datagram(end{mac, attacker.Addr(family)}, end{gatewayMAC, victim.Addr(family)}, text)...); err != nil {
			t.Fatal(err)
		}
		eventually(t, "an honest datagram arrives", func(context.Context) error {
			if !watched["the victim"].saw([]byte(text)) {
				return errors.New("it has not")
			}
			return nil
		})
	}
	time.Sleep(silence()) // first packets may overtake each other on their way through ovs-vswitchd
	for _, f := range forgeries {
		for who, l := range watched {
			if l.saw(f.mark) {
				t.Errorf("%s: %s has got it, or an answer to it", f.what, who)
			}
		}
	}
}

func TestNeighboursAreAnsweredForByTheBridge(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "neighbours", nil)
	pod := n.pod(t, "neighbours", "pod", nil)
	for _, family := range []int{4, 6} {
		n.check(t, probe{from: n.Node, to: &pod.Host, family: family, protocol: oracle.ICMP})
		n.check(t, probe{from: &pod.Host, to: n.Node, family: family, protocol: oracle.ICMP})
	}
	gatewayMAC, podMAC := macOf(t, n.Node, "sluice0"), macOf(t, &pod.Host, "eth0")
	for i, family := range []int{4, 6} {
		expectNeighbour(t, &pod.Host, n.gateways[i], gatewayMAC)
		expectNeighbour(t, n.Node, pod.Addr(family), podMAC)
	}
}

func expectNeighbour(t testing.TB, h *bed.Host, addr netip.Addr, mac net.HardwareAddr) {
	t.Helper()
	err := h.Do(func() error {
		all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, n := range all {
			if n.IP.Equal(addr.AsSlice()) && len(n.HardwareAddr) > 0 {
				if !bytes.Equal(n.HardwareAddr, mac) {
					t.Errorf("%s takes %s for %s, want %s", h.Name, n.HardwareAddr, addr, mac)
				}
				return nil
			}
		}
		return fmt.Errorf("no entry for %s", addr)
	})
	if err != nil {
		t.Errorf("neighbours of %s: %v", h.Name, err)
	}
}
