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
	// TCPFlags are the low 12 bits of the flags of TCP: 0x002 is SYN.
	TCPFlags uint16
	// TTL is the time to live or hop limit; zero means 64.
	TTL uint8
	// Extra are further fields in the syntax of ovs-ofctl(8), such as
	// "nd_target=fd00::1" or "reg0=0x1".
	Extra string
}

// ICMP is the kind of an ICMP or ICMPv6 packet.
type ICMP struct {
	Type, Code uint8
}

// Flow returns the packet in the syntax of ovs-ofctl(8).
func (p Packet) Flow() string {
	var b strings.Builder
	v6 := p.Src.Is6()
	switch {
	case p.Protocol == tcp:
		b.WriteString("tcp")
	case p.Protocol == udp:
		b.WriteString("udp")
	case p.Protocol == sctp:
		b.WriteString("sctp")
	case p.Protocol == icmp && !v6:
		b.WriteString("icmp")
	case p.Protocol == icmpv6 && v6:
		b.WriteString("icmp")
	default:
		b.WriteString("ip")
	}
	switch {
	case v6 && b.String() == "ip":
		b.WriteString("v6")
	case v6:
		b.WriteString("6")
	}
	if strings.HasPrefix(b.String(), "ip") {
		fmt.Fprintf(&b, ",nw_proto=%d", p.Protocol)
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
	switch p.Protocol {
	case tcp, udp, sctp:
		fmt.Fprintf(&b, ",tp_src=%d,tp_dst=%d", p.SrcPort, p.DstPort)
	case icmp, icmpv6:
		kind := p.ICMP
		if kind == nil {
			kind = &ICMP{Type: 8}
			if v6 {
				kind.Type = 128
			}
		}
		fmt.Fprintf(&b, ",icmp_type=%d,icmp_code=%d", kind.Type, kind.Code)
	}
	if p.TCPFlags != 0 {
		fmt.Fprintf(&b, ",tcp_flags=%#x", p.TCPFlags)
	}
	if p.Extra != "" {
		b.WriteString("," + p.Extra)
	}
	return b.String()
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
