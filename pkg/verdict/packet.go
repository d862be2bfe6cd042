package verdict

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// packet is what is read of the beginning of a frame.
type packet struct {
	src, dst         netip.Addr // not valid where it is not IP
	protocol         string     // as api.Event has it
	srcPort, dstPort uint16
}

// decoder reads frames. It is used by one goroutine.
type decoder struct {
	parser *gopacket.DecodingLayerParser
	seen   []gopacket.LayerType

	eth  layers.Ethernet
	arp  layers.ARP
	ip4  layers.IPv4
	ip6  layers.IPv6
	ext  layers.IPv6ExtensionSkipper
	tcp  layers.TCP
	udp  layers.UDP
	sctp layers.SCTP
	icmp layers.ICMPv4
	icm6 layers.ICMPv6
}

func newDecoder() *decoder {
	d := &decoder{}
	d.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet,
		&d.eth, &d.arp, &d.ip4, &d.ip6, &d.ext, &d.tcp, &d.udp, &d.sctp, &d.icmp, &d.icm6)
	d.parser.IgnoreUnsupported = true
	return d
}

// read reads a frame as far as it can be understood: it may be cut off, and its
// sender may be hostile.
func (d *decoder) read(frame []byte) packet {
	var p packet
	// An error says where the frame stops making sense; what came before it counts.
	_ = d.parser.DecodeLayers(frame, &d.seen)
	for _, layer := range d.seen {
		switch layer {
		case layers.LayerTypeEthernet:
			p.protocol = fmt.Sprintf("ethertype %#04x", uint16(d.eth.EthernetType))
		case layers.LayerTypeARP:
			p.protocol = "arp"
			p.src, _ = netip.AddrFromSlice(d.arp.SourceProtAddress)
			p.dst, _ = netip.AddrFromSlice(d.arp.DstProtAddress)
		case layers.LayerTypeIPv4:
			p.src, _ = netip.AddrFromSlice(d.ip4.SrcIP)
			p.dst, _ = netip.AddrFromSlice(d.ip4.DstIP)
			p.protocol = protocolName(d.ip4.Protocol)
		case layers.LayerTypeIPv6:
			p.src, _ = netip.AddrFromSlice(d.ip6.SrcIP)
			p.dst, _ = netip.AddrFromSlice(d.ip6.DstIP)
			p.protocol = protocolName(d.ip6.NextHeader)
		case layers.LayerTypeIPv6HopByHop, layers.LayerTypeIPv6Routing, layers.LayerTypeIPv6Destination, layers.LayerTypeIPv6Fragment:
			p.protocol = protocolName(d.ext.NextHeader)
		case layers.LayerTypeTCP:
			p.srcPort, p.dstPort = uint16(d.tcp.SrcPort), uint16(d.tcp.DstPort)
		case layers.LayerTypeUDP:
			p.srcPort, p.dstPort = uint16(d.udp.SrcPort), uint16(d.udp.DstPort)
		case layers.LayerTypeSCTP:
			p.srcPort, p.dstPort = uint16(d.sctp.SrcPort), uint16(d.sctp.DstPort)
		}
	}
	return p
}

func protocolName(p layers.IPProtocol) string {
	switch p {
	case layers.IPProtocolTCP:
		return "tcp"
	case layers.IPProtocolUDP:
		return "udp"
	case layers.IPProtocolSCTP:
		return "sctp"
	case layers.IPProtocolICMPv4:
		return "icmp"
	case layers.IPProtocolICMPv6:
		return "icmpv6"
	}
	return strconv.Itoa(int(p))
}
