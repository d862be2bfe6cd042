package trace

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// IANA protocol numbers with names of their own in flows.
const (
	icmp   = 1
	tcp    = 6
	udp    = 17
	icmpv6 = 58
	sctp   = 132
)

// Packet is an IP packet to trace.
type Packet struct {
	// InPort is the OpenFlow port it arrives at.
	InPort         uint32
	SrcMAC, DstMAC net.HardwareAddr
	// Src and Dst are of one family.
	Src, Dst netip.Addr
	// Protocol is the IANA protocol number.
	Protocol uint8
	// SrcPort and DstPort are those of TCP, UDP and SCTP.
	SrcPort, DstPort uint16
	// ICMP is for protocols 1 and 58; nil means an echo request.
	ICMP *ICMP
	// TCPFlags are the low 12 bits of the flags of TCP, such as SYN.
	TCPFlags uint16
	// TTL is the time to live or hop limit; zero means 64.
	TTL uint8
	// Extra are further fields in the syntax of ovs-ofctl(8), such as
	// "nd_target=fd00::1" or "reg0=0x1".
	Extra string
}

// SYN is the flag of the first packet of a TCP connection (RFC 9293).
const SYN = 0x002

// ICMP is the kind of an ICMP or ICMPv6 packet.
type ICMP struct {
	Type, Code uint8
}

// Flow returns the packet as ofproto/trace takes it.
func (p Packet) Flow() string {
	var b strings.Builder
	v6 := p.Src.Is6()
	if name := p.name(); name != "" {
		b.WriteString(name)
	} else if v6 {
		fmt.Fprintf(&b, "ipv6,nw_proto=%d", p.Protocol)
	} else {
		fmt.Fprintf(&b, "ip,nw_proto=%d", p.Protocol)
	}
	fmt.Fprintf(&b, ",in_port=%d", p.InPort)
	if p.SrcMAC != nil {
		fmt.Fprintf(&b, ",dl_src=%v", p.SrcMAC)
	}
	if p.DstMAC != nil {
		fmt.Fprintf(&b, ",dl_dst=%v", p.DstMAC)
	}
	if v6 {
		fmt.Fprintf(&b, ",ipv6_src=%v,ipv6_dst=%v", p.Src, p.Dst)
	} else {
		fmt.Fprintf(&b, ",nw_src=%v,nw_dst=%v", p.Src, p.Dst)
	}
	ttl := p.TTL
	if ttl == 0 {
		ttl = 64
	}
	fmt.Fprintf(&b, ",nw_ttl=%d", ttl)
	// Not tp_src and icmp_type: there they stand for TCP and ICMPv4 alone.
	switch p.Protocol {
	case tcp:
		fmt.Fprintf(&b, ",tcp_src=%d,tcp_dst=%d", p.SrcPort, p.DstPort)
	case udp:
		fmt.Fprintf(&b, ",udp_src=%d,udp_dst=%d", p.SrcPort, p.DstPort)
	case sctp:
		fmt.Fprintf(&b, ",sctp_src=%d,sctp_dst=%d", p.SrcPort, p.DstPort)
	case icmp:
		kind := p.icmp(8)
		fmt.Fprintf(&b, ",icmp_type=%d,icmp_code=%d", kind.Type, kind.Code)
	case icmpv6:
		kind := p.icmp(128)
		fmt.Fprintf(&b, ",icmpv6_type=%d,icmpv6_code=%d", kind.Type, kind.Code)
	}
	if p.TCPFlags != 0 {
		fmt.Fprintf(&b, ",tcp_flags=%#x", p.TCPFlags)
	}
	if p.Extra != "" {
		b.WriteString("," + p.Extra)
	}
	return b.String()
}

// name returns the protocol's shorthand in flows, empty if it has none.
func (p Packet) name() string {
	name := map[uint8]string{icmp: "icmp", tcp: "tcp", udp: "udp", icmpv6: "icmp", sctp: "sctp"}[p.Protocol]
	if name != "" && p.Src.Is6() {
		name += "6"
	}
	return name
}

// icmp returns the kind of ICMP packet, by default one of the given type.
func (p Packet) icmp(echoRequest uint8) ICMP {
	if p.ICMP == nil {
		return ICMP{Type: echoRequest}
	}
	return *p.ICMP
}

// check returns an error that names the field which makes no packet.
func (p Packet) check() error {
	switch {
	case !p.Src.IsValid():
		return fmt.Errorf("packet has no source address")
	case !p.Dst.IsValid():
		return fmt.Errorf("packet has no destination address")
	case p.Src.Is4() != p.Dst.Is4():
		return fmt.Errorf("packet's source %v and destination %v are of different families", p.Src, p.Dst)
	case p.Protocol == icmp && p.Src.Is6(), p.Protocol == icmpv6 && p.Src.Is4():
		return fmt.Errorf("packet's protocol %d is of another family than its source %v", p.Protocol, p.Src)
	}
	return nil
}
