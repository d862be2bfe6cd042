package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// friendsOnly lets friends reach the victim on UDP port 80, and with nothing else.
const friendsOnly = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: %[1]s, name: victim}
spec:
  podSelector: {matchLabels: {app: victim}}
  ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}], ports: [{protocol: UDP, port: 80}]}]
`

// udp returns a datagram with a text, its header and checksum included.
func udp(from, to netip.Addr, port uint16, text string) []byte {
	ls := datagram(end{forged, from}, end{forged, to}, text)
	u := ls[2].(*layers.UDP)
	u.DstPort = layers.UDPPort(port)
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls[2:]...); err != nil {
		panic(err) // what is serialized does not come from outside
	}
	return buffer.Bytes()
}

// packet4 and packet6 return the layers of an IP packet.
func packet4(from, to end, ip layers.IPv4, body []byte) []gopacket.SerializableLayer {
	ip.Version, ip.SrcIP, ip.DstIP = 4, from.addr.AsSlice(), to.addr.AsSlice()
	if ip.TTL == 0 {
		ip.TTL = 64
	}
	return []gopacket.SerializableLayer{
		&layers.Ethernet{SrcMAC: from.mac, DstMAC: to.mac, EthernetType: layers.EthernetTypeIPv4}, &ip, gopacket.Payload(body),
	}
}

func packet6(from, to end, next layers.IPProtocol, body []byte) []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{
		&layers.Ethernet{SrcMAC: from.mac, DstMAC: to.mac, EthernetType: layers.EthernetTypeIPv6},
		&layers.IPv6{Version: 6, HopLimit: 255, NextHeader: next, SrcIP: from.addr.AsSlice(), DstIP: to.addr.AsSlice()}, gopacket.Payload(body),
	}
}

// fragment6 puts a fragment header (RFC 8200 section 4.5) before a part; offset in
// bytes.
func fragment6(next uint8, id uint32, offset uint16, more bool, part []byte) []byte {
	h := []byte{next, 0, 0, 0, 0, 0, 0, 0}
	field := offset
	if more {
		field |= 1
	}
	binary.BigEndian.PutUint16(h[2:], field)
	binary.BigEndian.PutUint32(h[4:], id)
	return append(h, part...)
}

// tagged puts VLAN tags (IEEE 802.1Q) between the Ethernet header and the rest.
func tagged(ls []gopacket.SerializableLayer, outer layers.EthernetType, ids ...uint16) []gopacket.SerializableLayer {
	eth := *ls[0].(*layers.Ethernet)
	inner := eth.EthernetType
	eth.EthernetType = outer
	out := []gopacket.SerializableLayer{&eth}
	for i, id := range ids {
		next := layers.EthernetTypeDot1Q
		if i == len(ids)-1 {
			next = inner
		}
		out = append(out, &layers.Dot1Q{VLANIdentifier: id, Type: next})
	}
	return append(out, ls[1:]...)
}

// raw returns a frame of any Ethernet type or, if that is below 1536, length.
func raw(from, to end, kind uint16, body []byte) []gopacket.SerializableLayer {
	h := append(append(append([]byte{}, to.mac...), from.mac...), byte(kind>>8), byte(kind))
	return []gopacket.SerializableLayer{gopacket.Payload(append(h, body...))}
}

// byNode begins the names of attacks that try to have the node send packets on:
// the node may see them, and answer.
const byNode = "by way of the node: "

// attack is frames that must get nobody to see the mark.
type attack struct {
	what   string
	mark   string
	frames [][]gopacket.SerializableLayer
}

// attacks returns what a pod may try that may send UDP to port 80 of the target
// and nothing else. In each the mark is in what must not arrive.
func attacks(own4, own6, target4, target6 end, gateways []netip.Addr) []attack {
	mac := own4.mac
	var all []attack
	add := func(what string, frames func(mark string) [][]gopacket.SerializableLayer) {
		mark := fmt.Sprintf("attack %03d ", len(all))
		all = append(all, attack{what, mark, frames(mark)})
	}
	one := func(what string, frame func(mark string) []gopacket.SerializableLayer) {
		add(what, func(mark string) [][]gopacket.SerializableLayer { return [][]gopacket.SerializableLayer{frame(mark)} })
	}
	loopback4, loopback6 := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	linkLocal := end{mac, netip.MustParseAddr("fe80::1234")}
	payload := func(ls []gopacket.SerializableLayer) []byte {
		buffer := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls[1:]...); err != nil {
			panic(err)
		}
		return buffer.Bytes()
	}

	// Frames.
	for _, to := range []end{target4, target6} {
		from := choose(to.addr.Is4(), own4, own6)
		for _, ids := range [][]uint16{{0}, {5}, {0, 0}, {5, 6}} {
			one(fmt.Sprintf("VLAN %v to %s", ids, to.addr), func(mark string) []gopacket.SerializableLayer {
				return tagged(datagram(from, to, mark), layers.EthernetTypeDot1Q, ids...)
			})
			one(fmt.Sprintf("provider VLAN %v to %s", ids, to.addr), func(mark string) []gopacket.SerializableLayer {
				return tagged(datagram(from, to, mark), layers.EthernetTypeQinQ, ids...)
			})
		}
		for _, kind := range []uint16{0x8847, 0x8848, 0x8864, 0x894f, 0x22f0, 0x88cc, 0x8906, 0x9000} {
			one(fmt.Sprintf("Ethernet type %#x to %s", kind, to.addr), func(mark string) []gopacket.SerializableLayer {
				return raw(from, to, kind, append([]byte{0, 1, 1, 64}, payload(datagram(from, to, mark))...))
			})
		}
		one("LLC to "+to.addr.String(), func(mark string) []gopacket.SerializableLayer {
			body := append([]byte{0x06, 0x06, 0x03}, payload(datagram(from, to, mark))...)
			return raw(from, to, uint16(len(body)), body)
		})
		one("the wrong Ethernet type to "+to.addr.String(), func(mark string) []gopacket.SerializableLayer {
			return raw(from, to, choose[uint16](to.addr.Is4(), 0x86dd, 0x0800), payload(datagram(from, to, mark)))
		})
	}

	// Destinations that are no other host's.
	for _, a := range []string{"127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "255.255.255.255", "::1", "::", "ff02::1", "ff05::2", "::ffff:127.0.0.1"} {
		addr := netip.MustParseAddr(a)
		to, from := end{target4.mac, addr}, choose(addr.Is4(), own4, own6)
		one("to "+a, func(mark string) []gopacket.SerializableLayer { return datagram(from, to, mark) })
	}
	for _, from := range []end{{mac, loopback4}, {mac, loopback6}, linkLocal, {mac, netip.MustParseAddr("0.0.0.0")}, {mac, netip.MustParseAddr("::")},
		{mac, netip.MustParseAddr("224.0.0.1")}, {mac, netip.MustParseAddr("ff02::1")}} {
		to := choose(from.addr.Is4(), target4, target6)
		one("from "+from.addr.String(), func(mark string) []gopacket.SerializableLayer { return datagram(from, to, mark) })
	}

	// Other protocols, headers and fragments, all to what is not allowed.
	for _, p := range []layers.IPProtocol{4, 41, 47, 50, 51, 33, 136, 2, 89, 255, 0} {
		one(fmt.Sprintf("IPv4 protocol %d", p), func(mark string) []gopacket.SerializableLayer {
			return packet4(own4, target4, layers.IPv4{Protocol: p}, payload(datagram(own4, target4, mark)))
		})
		if p != 0 {
			one(fmt.Sprintf("IPv6 next header %d", p), func(mark string) []gopacket.SerializableLayer {
				return packet6(own6, target6, p, payload(datagram(own6, target6, mark)))
			})
		}
	}
	denied4 := func(mark string) []byte { return udp(own4.addr, target4.addr, 81, mark) }
	denied6 := func(mark string) []byte { return udp(own6.addr, target6.addr, 81, mark) }
	one("IPv4 options", func(mark string) []gopacket.SerializableLayer {
		return packet4(own4, target4, layers.IPv4{Protocol: 17, Options: []layers.IPv4Option{{OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}}, {OptionType: 0}}}, denied4(mark))
	})
	one(byNode+"an IPv4 source route", func(mark string) []gopacket.SerializableLayer {
		route := append([]byte{4}, target4.addr.AsSlice()...)
		return packet4(own4, end{target4.mac, gateways[0]},
			layers.IPv4{Protocol: 17, Options: []layers.IPv4Option{{OptionType: 131, OptionLength: 7, OptionData: route}, {OptionType: 0}}},
			udp(own4.addr, gateways[0], 81, mark))
	})
	for _, h := range []uint8{0, 43, 60, 135, 139, 140, 253} {
		one(fmt.Sprintf("IPv6 extension header %d", h), func(mark string) []gopacket.SerializableLayer {
			return packet6(own6, target6, layers.IPProtocol(h), append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, denied6(mark)...))
		})
	}
	for _, kind := range []uint8{0, 2, 3, 4} {
		one(fmt.Sprintf("%sIPv6 routing header %d", byNode, kind), func(mark string) []gopacket.SerializableLayer {
			h := append([]byte{17, 2, kind, 1, 0, 0, 0, 0}, target6.addr.AsSlice()...)
			return packet6(own6, end{target6.mac, gateways[1]}, 43, append(h, udp(own6.addr, gateways[1], 81, mark)...))
		})
	}
	one("the port behind an atomic fragment header", func(mark string) []gopacket.SerializableLayer {
		return packet6(own6, target6, 44, fragment6(17, 7, 0, false, denied6(mark)))
	})
	fragments4 := func(id uint16, parts ...part) (out [][]gopacket.SerializableLayer) {
		for _, p := range parts {
			ip := layers.IPv4{Protocol: 17, Id: id, FragOffset: p.offset / 8}
			if p.more {
				ip.Flags = layers.IPv4MoreFragments
			}
			out = append(out, packet4(own4, target4, ip, p.body))
		}
		return out
	}
	fragments6 := func(id uint32, next uint8, parts ...part) (out [][]gopacket.SerializableLayer) {
		for _, p := range parts {
			out = append(out, packet6(own6, target6, 44, fragment6(next, id, p.offset, p.more, p.body)))
		}
		return out
	}
	// The text is long and repeats the mark so that each part has it.
	long := func(mark string) (s string) {
		for len(s) < 2600 {
			s += mark
		}
		return s
	}
	for _, size := range []uint16{8, 16, 64, 1280} {
		cut := func(b []byte) []part {
			return []part{{0, true, b[:size]}, {size, true, b[size : size+1280]}, {size + 1280, false, b[size+1280:]}}
		}
		add(fmt.Sprintf("IPv4 in fragments, the first of %d bytes", size), func(mark string) [][]gopacket.SerializableLayer {
			return fragments4(100+size, cut(denied4(long(mark)))...)
		})
		add(fmt.Sprintf("IPv6 in fragments, the first of %d bytes", size), func(mark string) [][]gopacket.SerializableLayer {
			return fragments6(uint32(100+size), 17, cut(denied6(long(mark)))...)
		})
		add(fmt.Sprintf("IPv4 in fragments, the first of %d bytes, the last one first", size), func(mark string) [][]gopacket.SerializableLayer {
			p := cut(denied4(long(mark)))
			return fragments4(2100+size, p[2], p[1], p[0])
		})
		add(fmt.Sprintf("IPv6 in fragments, a header alone in the first of %d bytes", size), func(mark string) [][]gopacket.SerializableLayer {
			return fragments6(uint32(3100+size), 60, cut(append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, denied6(long(mark))...))...)
		})
	}
	// The first says port 80 without a mark, a second one overlaps it and says 81.
	add("IPv4 fragments that overlap the ports", func(mark string) [][]gopacket.SerializableLayer {
		good := udp(own4.addr, target4.addr, 80, long("good morning "))
		bad := denied4(long(mark))
		return fragments4(5000, part{0, true, good[:1280]}, part{0, true, bad[:1280]}, part{1280, false, bad[1280:]})
	})
	add("IPv4 fragments of which the last comes first and the first overlap", func(mark string) [][]gopacket.SerializableLayer {
		good := udp(own4.addr, target4.addr, 80, long("good morning "))
		bad := denied4(long(mark))
		return fragments4(5001, part{1280, false, bad[1280:]}, part{0, true, bad[:1280]}, part{0, true, good[:1280]})
	})
	add("IPv6 fragments that overlap the ports", func(mark string) [][]gopacket.SerializableLayer {
		good := udp(own6.addr, target6.addr, 80, long("good morning "))
		bad := denied6(long(mark))
		return fragments6(5002, 17, part{0, true, good[:1280]}, part{0, true, bad[:1280]}, part{1280, false, bad[1280:]})
	})
	add("IPv4 fragments without a first one", func(mark string) [][]gopacket.SerializableLayer {
		return fragments4(5003, part{1280, true, []byte(long(mark))[:1280]}, part{2560, false, []byte(long(mark))[:800]})
	})
	add("IPv6 fragments without a first one", func(mark string) [][]gopacket.SerializableLayer {
		return fragments6(5004, 17, part{1280, true, []byte(long(mark))[:1280]}, part{2560, false, []byte(long(mark))[:800]})
	})

	// Neighbour discovery where the first fragment does not show it (RFC 6980).
	for _, kind := range []uint8{133, 134, 136, 137} {
		add(fmt.Sprintf("ICMPv6 type %d behind a header, in fragments", kind), func(mark string) [][]gopacket.SerializableLayer {
			icmp := payload(append(discovery(kind, own6, target6, gopacket.Payload(append(make([]byte, 20), long(mark)...)))[:1:1],
				discovery(kind, own6, target6, gopacket.Payload(append(make([]byte, 20), long(mark)...)))[2:]...))
			body := append([]byte{58, 0, 1, 4, 0, 0, 0, 0}, icmp...)
			return fragments6(6000+uint32(kind), 60, part{0, true, body[:8]}, part{8, true, body[8:1288]}, part{1288, false, body[1288:]})
		})
		one(fmt.Sprintf("ICMPv6 type %d behind a header", kind), func(mark string) []gopacket.SerializableLayer {
			ls := discovery(kind, own6, target6, gopacket.Payload(append(make([]byte, 20), mark...)))
			return packet6(own6, target6, 60, append([]byte{58, 0, 1, 4, 0, 0, 0, 0}, payload(append(ls[:1:1], ls[2:]...))...))
		})
	}
	// TCP and ICMP that belong to no connection.
	for _, flags := range []uint8{0x12, 0x10, 0x11, 0x04, 0x14, 0x18, 0x00, 0x29, 0x03, 0x06, 0x3f} {
		for _, to := range []end{target4, target6} {
			from := choose(to.addr.Is4(), own4, own6)
			one(fmt.Sprintf("TCP with flags %#x to %s", flags, to.addr), func(mark string) []gopacket.SerializableLayer {
				return segment(from, to, 80, 41000+uint16(flags), flags, mark)
			})
		}
	}
	return all
}

// part is a fragment of an IP packet, its offset in bytes.
type part struct {
	offset uint16
	more   bool
	body   []byte
}

// segment returns the layers of a TCP segment; flags as in its header.
func segment(from, to end, srcPort, dstPort uint16, flags uint8, text string) []gopacket.SerializableLayer {
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(srcPort), DstPort: layers.TCPPort(dstPort), Seq: 1000, Ack: 2000, Window: 1000,
		FIN: flags&1 != 0, SYN: flags&2 != 0, RST: flags&4 != 0, PSH: flags&8 != 0, ACK: flags&16 != 0, URG: flags&32 != 0,
	}
	ls := datagram(from, to, text)
	_ = tcp.SetNetworkLayerForChecksum(ls[1].(gopacket.NetworkLayer))
	switch ip := ls[1].(type) {
	case *layers.IPv4:
		ip.Protocol = layers.IPProtocolTCP
	case *layers.IPv6:
		ip.NextHeader = layers.IPProtocolTCP
	}
	ls[2] = tcp
	return ls
}

func TestFramesOfNoAllowedKindArriveNowhere(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "hostile", nil)
	attacker := n.pod(t, "hostile", "attacker", map[string]string{"app": "friend"})
	victim := n.pod(t, "hostile", "victim", map[string]string{"app": "victim"})
	n.apply(t, fmt.Sprintf(friendsOnly, "hostile"))
	both := hosts(attacker, victim)
	n.check(t, between(both, both)...)
	wire := openLink(t, &attacker.Host, "eth0")
	watched := map[string]*link{
		"the victim": openLink(t, &victim.Host, "eth0"), "the node": openLink(t, n.Node, "sluice0"), "the attacker": wire,
	}
	mac, gatewayMAC := macOf(t, &attacker.Host, "eth0"), macOf(t, n.Node, "sluice0")
	own4, own6 := end{mac, attacker.Addr(4)}, end{mac, attacker.Addr(6)}
	target4, target6 := end{gatewayMAC, victim.Addr(4)}, end{gatewayMAC, victim.Addr(6)}
	all := attacks(own4, own6, target4, target6, n.gateways)
	honest := func(text string, from, to end) {
		t.Helper()
		eventually(t, text+" arrives", func(context.Context) error {
			if watched["the victim"].saw([]byte(text)) {
				return nil
			}
			return errors.Join(errors.New("it has not"), wire.send(datagram(from, to, text)...))
		})
	}
	for i, a := range all {
		for _, f := range a.frames {
			if err := wire.send(f...); err != nil {
				t.Fatalf("%s: %v", a.what, err)
			}
		}
		// It comes by the same way: when it is there, the attack has been dealt with and
		// was not lost in a queue.
		honest(fmt.Sprintf("honest %03d ", i), own4, target4)
	}
	// What is allowed arrives by whatever Ethernet address it is sent to.
	for _, mac := range []net.HardwareAddr{gatewayMAC, macOf(t, &victim.Host, "eth0"), broadcast, forged} {
		honest(fmt.Sprintf("honest: IPv4 to %s ", mac), own4, end{mac, target4.addr})
		honest(fmt.Sprintf("honest: IPv6 to %s ", mac), own6, end{mac, target6.addr})
	}
	time.Sleep(silence())
	for _, a := range all {
		for who, l := range watched {
			if (who == "the victim" || !strings.HasPrefix(a.what, byNode)) && l.saw([]byte(a.mark)) {
				t.Errorf("%s: %s has got it, or an answer to it", a.what, who)
			}
		}
	}
	n.check(t, between(both, both)...)
}

// setPorts sets the ports of a datagram.
func setPorts(ls []gopacket.SerializableLayer, src, dst uint16) {
	u := ls[2].(*layers.UDP)
	u.SrcPort, u.DstPort = layers.UDPPort(src), layers.UDPPort(dst)
}
