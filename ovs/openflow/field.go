package openflow

import (
	"strconv"
	"strings"
)

// format is how a field's value is written, as in the Format rows of
// ovs-fields(7).
type format uint8

const (
	decimal format = iota
	hex
	mac
	ipv4
	ipv6
	port     // an OpenFlow port: a number, LOCAL or CONTROLLER
	ctState  // "+new+trk-inv"
	tcpFlags // "+syn-ack"
	opaque   // kept as it is written
)

// prereq is what the rest of a match must say for a field to have a meaning, as
// in the Prerequisites rows of ovs-fields(7). ovs-ofctl drops a field whose
// prerequisite is missing and only warns, which widens the match.
type prereq uint8

const (
	none prereq = iota
	onIPv4
	onIPv6
	onIP
	onARP
	onTCP
	onUDP
	onSCTP
	onPorts // TCP, UDP or SCTP
	onICMPv4
	onICMPv6
	onICMP
	onND        // neighbour solicitation or advertisement
	onNDSolicit // ICMPv6 type 135
	onNDAdvert  // ICMPv6 type 136
	onMPLS
	onCTPorts // ct_nw_proto is TCP, UDP or SCTP
)

// field describes a field of ovs-fields(7).
type field struct {
	// name is what set_field calls it in a dump.
	name string
	// nxm is what it is called in move, output and other places of a subfield.
	nxm    string
	bits   int
	format format
	// valid, if not zero, has the bits that may be set: OVS drops the others or
	// refuses them.
	valid uint64
	// match is what a dumped match calls it, where that is not name.
	match string
	// needs is the prerequisite of a match by the name match, and aliases.
	needs prereq
	// aliases are further names.
	aliases []string
}

var fieldList = []field{
	{name: "in_port", nxm: "NXM_OF_IN_PORT", bits: 16, format: port},
	{name: "in_port_oxm", nxm: "OXM_OF_IN_PORT", bits: 32, format: port, match: "in_port"},
	{name: "metadata", nxm: "OXM_OF_METADATA", bits: 64, format: hex},
	{name: "pkt_mark", nxm: "NXM_NX_PKT_MARK", bits: 32, format: hex},
	{name: "conj_id", nxm: "NXM_NX_CONJ_ID", bits: 32},
	{name: "recirc_id", bits: 32, format: hex},
	{name: "actset_output", nxm: "ONFOXM_ET_ACTSET_OUTPUT", bits: 32, format: port},
	{name: "skb_priority", bits: 32, format: hex},

	{name: "ct_state", nxm: "NXM_NX_CT_STATE", bits: 32, format: ctState},
	{name: "ct_zone", nxm: "NXM_NX_CT_ZONE", bits: 16},
	{name: "ct_mark", nxm: "NXM_NX_CT_MARK", bits: 32, format: hex},
	{name: "ct_label", nxm: "NXM_NX_CT_LABEL", bits: 128, format: hex},
	{name: "ct_nw_src", nxm: "NXM_NX_CT_NW_SRC", bits: 32, format: ipv4, needs: onIPv4},
	{name: "ct_nw_dst", nxm: "NXM_NX_CT_NW_DST", bits: 32, format: ipv4, needs: onIPv4},
	{name: "ct_ipv6_src", nxm: "NXM_NX_CT_IPV6_SRC", bits: 128, format: ipv6, needs: onIPv6},
	{name: "ct_ipv6_dst", nxm: "NXM_NX_CT_IPV6_DST", bits: 128, format: ipv6, needs: onIPv6},
	{name: "ct_nw_proto", nxm: "NXM_NX_CT_NW_PROTO", bits: 8, needs: onIP},
	{name: "ct_tp_src", nxm: "NXM_NX_CT_TP_SRC", bits: 16, needs: onCTPorts},
	{name: "ct_tp_dst", nxm: "NXM_NX_CT_TP_DST", bits: 16, needs: onCTPorts},

	{name: "tun_id", nxm: "NXM_NX_TUN_ID", bits: 64, format: hex, aliases: []string{"tunnel_id"}},
	{name: "tun_src", nxm: "NXM_NX_TUN_IPV4_SRC", bits: 32, format: ipv4},
	{name: "tun_dst", nxm: "NXM_NX_TUN_IPV4_DST", bits: 32, format: ipv4},
	{name: "tun_ipv6_src", nxm: "NXM_NX_TUN_IPV6_SRC", bits: 128, format: ipv6},
	{name: "tun_ipv6_dst", nxm: "NXM_NX_TUN_IPV6_DST", bits: 128, format: ipv6},
	{name: "tun_flags", nxm: "NXM_NX_TUN_FLAGS", bits: 16, format: opaque},

	{name: "eth_src", nxm: "NXM_OF_ETH_SRC", bits: 48, format: mac, match: "dl_src"},
	{name: "eth_dst", nxm: "NXM_OF_ETH_DST", bits: 48, format: mac, match: "dl_dst"},
	{name: "eth_type", nxm: "NXM_OF_ETH_TYPE", bits: 16, format: hex, match: "dl_type"},
	{name: "vlan_tci", nxm: "NXM_OF_VLAN_TCI", bits: 16, format: hex},
	// Matches have 13 bits of it, actions 12; so it is no subfield here.
	{name: "vlan_vid", bits: 13},
	{name: "vlan_pcp", nxm: "OXM_OF_VLAN_PCP", bits: 3, match: "dl_vlan_pcp"},
	{name: "dl_vlan", bits: 16, valid: 0xfff},

	{name: "mpls_label", nxm: "OXM_OF_MPLS_LABEL", bits: 20, needs: onMPLS},
	{name: "mpls_tc", nxm: "OXM_OF_MPLS_TC", bits: 3, needs: onMPLS},
	{name: "mpls_bos", nxm: "OXM_OF_MPLS_BOS", bits: 1, needs: onMPLS},
	{name: "mpls_ttl", nxm: "NXM_NX_MPLS_TTL", bits: 8, needs: onMPLS},

	{name: "ip_src", nxm: "NXM_OF_IP_SRC", bits: 32, format: ipv4, match: "nw_src", needs: onIPv4},
	{name: "ip_dst", nxm: "NXM_OF_IP_DST", bits: 32, format: ipv4, match: "nw_dst", needs: onIPv4},
	{name: "ipv6_src", nxm: "NXM_NX_IPV6_SRC", bits: 128, format: ipv6, needs: onIPv6},
	{name: "ipv6_dst", nxm: "NXM_NX_IPV6_DST", bits: 128, format: ipv6, needs: onIPv6},
	{name: "ipv6_label", nxm: "NXM_NX_IPV6_LABEL", bits: 20, format: hex, needs: onIPv6},
	{name: "nw_proto", nxm: "NXM_OF_IP_PROTO", bits: 8, needs: onIP, aliases: []string{"ip_proto"}},
	{name: "nw_ttl", nxm: "NXM_NX_IP_TTL", bits: 8, needs: onIP},
	{name: "ip_frag", nxm: "NXM_NX_IP_FRAG", bits: 8, format: opaque, match: "nw_frag", needs: onIP},
	{name: "nw_tos", nxm: "NXM_OF_IP_TOS", bits: 8, valid: 0xfc, needs: onIP},
	{name: "ip_dscp", nxm: "OXM_OF_IP_DSCP", bits: 6, needs: onIP, aliases: []string{"nw_tos_shifted"}},
	{name: "nw_ecn", nxm: "NXM_NX_IP_ECN", bits: 2, needs: onIP, aliases: []string{"ip_ecn"}},

	{name: "arp_op", nxm: "NXM_OF_ARP_OP", bits: 16, valid: 0xff, needs: onARP},
	{name: "arp_spa", nxm: "NXM_OF_ARP_SPA", bits: 32, format: ipv4, needs: onARP},
	{name: "arp_tpa", nxm: "NXM_OF_ARP_TPA", bits: 32, format: ipv4, needs: onARP},
	{name: "arp_sha", nxm: "NXM_NX_ARP_SHA", bits: 48, format: mac, needs: onARP},
	{name: "arp_tha", nxm: "NXM_NX_ARP_THA", bits: 48, format: mac, needs: onARP},

	{name: "tcp_src", nxm: "NXM_OF_TCP_SRC", bits: 16, match: "tp_src", needs: onTCP},
	{name: "tcp_dst", nxm: "NXM_OF_TCP_DST", bits: 16, match: "tp_dst", needs: onTCP},
	{name: "udp_src", nxm: "NXM_OF_UDP_SRC", bits: 16, match: "tp_src", needs: onUDP},
	{name: "udp_dst", nxm: "NXM_OF_UDP_DST", bits: 16, match: "tp_dst", needs: onUDP},
	{name: "sctp_src", nxm: "OXM_OF_SCTP_SRC", bits: 16, match: "tp_src", needs: onSCTP},
	{name: "sctp_dst", nxm: "OXM_OF_SCTP_DST", bits: 16, match: "tp_dst", needs: onSCTP},
	{name: "tcp_flags", nxm: "NXM_NX_TCP_FLAGS", bits: 12, format: tcpFlags, needs: onTCP},

	{name: "icmp_type", nxm: "NXM_OF_ICMP_TYPE", bits: 8, needs: onICMP},
	{name: "icmp_code", nxm: "NXM_OF_ICMP_CODE", bits: 8, needs: onICMP},
	{name: "icmpv6_type", nxm: "NXM_NX_ICMPV6_TYPE", bits: 8, match: "icmp_type", needs: onICMPv6},
	{name: "icmpv6_code", nxm: "NXM_NX_ICMPV6_CODE", bits: 8, match: "icmp_code", needs: onICMPv6},
	{name: "nd_target", nxm: "NXM_NX_ND_TARGET", bits: 128, format: ipv6, needs: onND},
	{name: "nd_sll", nxm: "NXM_NX_ND_SLL", bits: 48, format: mac, needs: onNDSolicit},
	{name: "nd_tll", nxm: "NXM_NX_ND_TLL", bits: 48, format: mac, needs: onNDAdvert},
	{name: "nd_reserved", nxm: "ERICOXM_OF_ICMPV6_ND_RESERVED", bits: 32, needs: onND},
	{name: "nd_options_type", nxm: "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", bits: 8, needs: onND},
}

// fields finds a field by any of its names, in lower case.
var fields = indexFields()

// portFields are the fields that matches call tp_src and tp_dst, for every
// transport protocol alike.
var portFields = map[string]*field{
	"tp_src": {name: "tcp_src", bits: 16, match: "tp_src", needs: onPorts},
	"tp_dst": {name: "tcp_dst", bits: 16, match: "tp_dst", needs: onPorts},
}

func indexFields() map[string]*field {
	m := make(map[string]*field, 4*len(fieldList))
	add := func(f *field) {
		if f.match == "" {
			f.match = f.name
		}
		m[f.name] = f
		if f.nxm != "" {
			m[f.nxm] = f // as most write it, found without another spelling
			m[strings.ToLower(f.nxm)] = f
		}
		for _, a := range f.aliases {
			m[a] = f
		}
	}
	for i := range fieldList {
		add(&fieldList[i])
	}
	for i := range 16 {
		n := strconv.Itoa(i)
		add(&field{name: "reg" + n, nxm: "NXM_NX_REG" + n, bits: 32, format: hex})
		if i < 8 {
			add(&field{name: "xreg" + n, nxm: "OXM_OF_PKT_REG" + n, bits: 64, format: hex})
		}
		if i < 4 {
			add(&field{name: "xxreg" + n, nxm: "NXM_NX_XXREG" + n, bits: 128, format: hex})
		}
	}
	// What a match calls a field is an alias of the field too; where several
	// fields go by one name, the first one's.
	for i := range fieldList {
		if f := &fieldList[i]; m[f.match] == nil {
			m[f.match] = f
		}
	}
	for alias, name := range map[string]string{
		"oxm_of_eth_src": "eth_src", "oxm_of_eth_dst": "eth_dst", "oxm_of_eth_type": "eth_type",
		"oxm_of_ipv4_src": "ip_src", "oxm_of_ipv4_dst": "ip_dst",
		"oxm_of_ipv6_src": "ipv6_src", "oxm_of_ipv6_dst": "ipv6_dst", "oxm_of_ipv6_flabel": "ipv6_label",
		"oxm_of_ip_proto": "nw_proto", "oxm_of_ip_ecn": "nw_ecn",
		"oxm_of_arp_op": "arp_op", "oxm_of_arp_spa": "arp_spa", "oxm_of_arp_tpa": "arp_tpa",
		"oxm_of_arp_sha": "arp_sha", "oxm_of_arp_tha": "arp_tha",
		"oxm_of_tcp_src": "tcp_src", "oxm_of_tcp_dst": "tcp_dst",
		"oxm_of_udp_src": "udp_src", "oxm_of_udp_dst": "udp_dst", "onfoxm_et_tcp_flags": "tcp_flags", "oxm_of_tcp_flags": "tcp_flags", "oxm_of_actset_output": "actset_output",
		"oxm_of_icmpv4_type": "icmp_type", "oxm_of_icmpv4_code": "icmp_code",
		"oxm_of_icmpv6_type": "icmpv6_type", "oxm_of_icmpv6_code": "icmpv6_code",
		"oxm_of_ipv6_nd_target": "nd_target", "oxm_of_ipv6_nd_sll": "nd_sll", "oxm_of_ipv6_nd_tll": "nd_tll",
		"oxm_of_tunnel_id": "tun_id",
	} {
		m[alias] = m[name]
	}
	return m
}

// lookField finds a field by any of its names, in any case.
func lookField(name string) *field {
	if f := fields[name]; f != nil {
		return f
	}
	return fields[strings.ToLower(name)]
}
