package nat

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var sourceMAC, targetMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}

// packet builds a packet from src to dst with what follows its IP header.
func packet(src, dst netip.Addr, protocol layers.IPProtocol, rest ...gopacket.SerializableLayer) []byte {
	eth := &layers.Ethernet{SrcMAC: sourceMAC, DstMAC: targetMAC, EthernetType: layers.EthernetTypeIPv4}
	var ip interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	} = &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	if src.Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	for _, l := range rest {
		if l, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := l.SetNetworkLayerForChecksum(ip); err != nil {
				panic(err)
			}
		}
	}
	buf := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, options, append([]gopacket.SerializableLayer{eth, ip}, rest...)...); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// opening is the first packet of a connection, answer the first of its reply.
func opening(protocol layers.IPProtocol, src, dst netip.AddrPort) []byte {
	return transport(protocol, src, dst, false)
}

func answer(protocol layers.IPProtocol, src, dst netip.AddrPort) []byte {
	return transport(protocol, src, dst, true)
}

func transport(protocol layers.IPProtocol, src, dst netip.AddrPort, reply bool) []byte {
	s, d := src.Port(), dst.Port()
	var rest []gopacket.SerializableLayer
	switch protocol {
	case layers.IPProtocolTCP:
		l := &layers.TCP{SrcPort: layers.TCPPort(s), DstPort: layers.TCPPort(d), SYN: true, Seq: 100, Window: 1000}
		if reply {
			l.ACK, l.Seq, l.Ack = true, 500, 101
		}
		rest = append(rest, l)
	case layers.IPProtocolUDP:
		rest = append(rest, &layers.UDP{SrcPort: layers.UDPPort(s), DstPort: layers.UDPPort(d)}, gopacket.Payload("x"))
	case layers.IPProtocolSCTP:
		chunk := &layers.SCTPInit{SCTPChunk: layers.SCTPChunk{Type: layers.SCTPChunkTypeInit}, InitiateTag: 1,
			AdvertisedReceiverWindowCredit: 65535, OutboundStreams: 1, InboundStreams: 1, InitialTSN: 1}
		tag := uint32(0)
		if reply {
			chunk.Type, tag = layers.SCTPChunkTypeInitAck, 1
		}
		rest = append(rest, &layers.SCTP{SrcPort: layers.SCTPPort(s), DstPort: layers.SCTPPort(d), VerificationTag: tag}, chunk)
	}
	return packet(src.Addr(), dst.Addr(), protocol, rest...)
}

// describe returns addresses and ports of a packet: "10.0.0.1:1000 > 10.0.0.2:80".
func describe(p gopacket.Packet) string {
	n := p.NetworkLayer()
	if n == nil {
		return p.String()
	}
	src, dst := n.NetworkFlow().Endpoints()
	sport, dport := "", ""
	if l := p.TransportLayer(); l != nil {
		s, d := l.TransportFlow().Endpoints()
		sport, dport = ":"+s.String(), ":"+d.String()
	}
	if n.LayerType() == layers.LayerTypeIPv6 && sport != "" {
		return fmt.Sprintf("[%v]%s > [%v]%s", src, sport, dst, dport)
	}
	return fmt.Sprintf("%v%s > %v%s", src, sport, dst, dport)
}

// ttl returns the packet's time to live or hop limit, in which the flows of the
// tests note the way it took.
func ttl(p gopacket.Packet) uint8 {
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		return ip.TTL
	case *layers.IPv6:
		return ip.HopLimit
	}
	return 0
}

// unreachable is an ICMP error that a packet does not get on, as whoever has
// from sends it to the packet's source.
func unreachable(from, to netip.Addr, about gopacket.Packet) []byte {
	inner := gopacket.Payload(about.Data()[14:]) // without the Ethernet header
	if from.Is4() {
		return packet(from, to, layers.IPProtocolICMPv4, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 1)}, inner)
	}
	return packet(from, to, layers.IPProtocolICMPv6, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(1, 3)},
		gopacket.Payload(make([]byte, 4)), inner)
}

// innerPacket returns the packet that an ICMP error is about.
func innerPacket(p gopacket.Packet) gopacket.Packet {
	if l, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		return gopacket.NewPacket(l.Payload, layers.LayerTypeIPv4, gopacket.Default)
	}
	l := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	return gopacket.NewPacket(l.Payload[4:], layers.LayerTypeIPv6, gopacket.Default)
}
