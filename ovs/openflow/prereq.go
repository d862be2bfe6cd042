package openflow

// ICMPv6 types of neighbour discovery (RFC 4861, section 4).
const (
	typeNDSolicit = 135
	typeNDAdvert  = 136
)

// String says what a match must have.
func (p prereq) String() string {
	switch p {
	case onIPv4:
		return "ip"
	case onIPv6:
		return "ipv6"
	case onIP:
		return "ip or ipv6"
	case onARP:
		return "arp"
	case onTCP:
		return "tcp or tcp6"
	case onUDP:
		return "udp or udp6"
	case onSCTP:
		return "sctp or sctp6"
	case onPorts:
		return "tcp, udp or sctp"
	case onICMPv4:
		return "icmp"
	case onICMPv6:
		return "icmp6"
	case onICMP:
		return "icmp or icmp6"
	case onND:
		return "icmp6 with icmp_type 135 or 136"
	case onNDSolicit:
		return "icmp6 with icmp_type 135"
	case onNDAdvert:
		return "icmp6 with icmp_type 136"
	case onMPLS:
		return "mpls"
	case onCTPorts:
		return "ip or ipv6 with ct_nw_proto 6, 17 or 132"
	default:
		return "none"
	}
}

// meets reports whether the match says what a field needs.
func (m *match) meets(p prereq) bool {
	eth, ip := m.protocol.eth, m.protocol.ip
	isIP := m.protocol.isIP()
	switch p {
	case onIPv4:
		return eth == ethIPv4
	case onIPv6:
		return eth == ethIPv6
	case onIP:
		return isIP
	case onARP:
		return eth == ethARP || eth == ethRARP
	case onTCP:
		return isIP && ip == protoTCP
	case onUDP:
		return isIP && ip == protoUDP
	case onSCTP:
		return isIP && ip == protoSCTP
	case onPorts:
		return isIP && (ip == protoTCP || ip == protoUDP || ip == protoSCTP)
	case onICMPv4:
		return eth == ethIPv4 && ip == protoICMP
	case onICMPv6:
		return eth == ethIPv6 && ip == protoICMP6
	case onICMP:
		return m.meets(onICMPv4) || m.meets(onICMPv6)
	case onND:
		return m.meets(onNDSolicit) || m.meets(onNDAdvert)
	case onNDSolicit:
		return m.meets(onICMPv6) && m.has("icmp_type", typeNDSolicit)
	case onNDAdvert:
		return m.meets(onICMPv6) && m.has("icmp_type", typeNDAdvert)
	case onMPLS:
		return eth == ethMPLS || eth == ethMPLSMC
	case onCTPorts:
		return isIP && (m.has("ct_nw_proto", protoTCP) || m.has("ct_nw_proto", protoUDP) || m.has("ct_nw_proto", protoSCTP))
	default:
		return true
	}
}

// has reports whether the match has a field with exactly this value.
func (m *match) has(name string, value uint64) bool {
	for i := range m.terms {
		if t := &m.terms[i]; t.name == name && t.field != nil && t.value.lo == value && t.mask == ones(t.field.bits) {
			return true
		}
	}
	return false
}
