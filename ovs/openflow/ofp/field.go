package ofp

import "strconv"

// Field is a field of a packet or of its metadata, as OXM or NXM name it
// (ovs-fields(7)).
type Field struct {
	// Name is the one of ovs-fields(7): "OXM_OF_IPV4_SRC", "NXM_NX_REG0".
	Name   string
	Class  uint16
	Number uint8
	// Bytes is the length of a value on the wire.
	Bytes uint8
	// Maskable says that a match may leave bits of the field open.
	Maskable bool
}

// The classes of fields.
const (
	nxm0   = 0x0000 // what OpenFlow 1.0 had
	nxm1   = 0x0001 // Open vSwitch's own
	eric   = 0x1000 // Ericsson's, for neighbour discovery
	oxm    = 0x8000 // OpenFlow's
	pktReg = 0x8001 // OpenFlow's packet registers
)

// firstXXReg is the number of the first register of 128 bits.
const firstXXReg = 111

// Fields are all fields there are here. The order is one in which a match may
// list them: a field follows those that it depends on, as the switch demands.
// Of two names of the same field the one that Open vSwitch uses in OpenFlow 1.5
// comes first.
var Fields = makeFields()

// fieldsByHeader finds a field by its class and number.
var fieldsByHeader = indexFields()

func makeFields() []*Field {
	list := []*Field{
		{"OXM_OF_IN_PORT", oxm, 0, 4, false},
		{"NXM_OF_IN_PORT", nxm0, 0, 2, false},
		{"OXM_OF_METADATA", oxm, 2, 8, true},
		{"OXM_OF_ETH_DST", oxm, 3, 6, true},
		{"OXM_OF_ETH_SRC", oxm, 4, 6, true},
		{"OXM_OF_ETH_TYPE", oxm, 5, 2, false},
		{"OXM_OF_VLAN_VID", oxm, 6, 2, true},
		{"OXM_OF_VLAN_PCP", oxm, 7, 1, false},
		{"OXM_OF_IP_DSCP", oxm, 8, 1, false},
		{"OXM_OF_IP_ECN", oxm, 9, 1, false},
		{"OXM_OF_IP_PROTO", oxm, 10, 1, false},
		{"NXM_NX_IP_TTL", nxm1, 29, 1, false},
		{"NXM_NX_IP_FRAG", nxm1, 26, 1, true},
		{"OXM_OF_IPV4_SRC", oxm, 11, 4, true},
		{"OXM_OF_IPV4_DST", oxm, 12, 4, true},
		{"OXM_OF_IPV6_SRC", oxm, 26, 16, true},
		{"OXM_OF_IPV6_DST", oxm, 27, 16, true},
		{"OXM_OF_IPV6_FLABEL", oxm, 28, 4, true},
		{"OXM_OF_TCP_SRC", oxm, 13, 2, true},
		{"OXM_OF_TCP_DST", oxm, 14, 2, true},
		{"OXM_OF_UDP_SRC", oxm, 15, 2, true},
		{"OXM_OF_UDP_DST", oxm, 16, 2, true},
		{"OXM_OF_SCTP_SRC", oxm, 17, 2, true},
		{"OXM_OF_SCTP_DST", oxm, 18, 2, true},
		{"OXM_OF_TCP_FLAGS", oxm, 42, 2, true},
		{"OXM_OF_ICMPV4_TYPE", oxm, 19, 1, false},
		{"OXM_OF_ICMPV4_CODE", oxm, 20, 1, false},
		{"OXM_OF_ICMPV6_TYPE", oxm, 29, 1, false},
		{"OXM_OF_ICMPV6_CODE", oxm, 30, 1, false},
		{"OXM_OF_IPV6_ND_TARGET", oxm, 31, 16, true},
		{"OXM_OF_IPV6_ND_SLL", oxm, 32, 6, true},
		{"OXM_OF_IPV6_ND_TLL", oxm, 33, 6, true},
		{"ERICOXM_OF_ICMPV6_ND_RESERVED", eric, 1, 4, false},
		{"ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE", eric, 2, 1, false},
		{"OXM_OF_ARP_OP", oxm, 21, 2, false},
		{"OXM_OF_ARP_SPA", oxm, 22, 4, true},
		{"OXM_OF_ARP_TPA", oxm, 23, 4, true},
		{"OXM_OF_ARP_SHA", oxm, 24, 6, true},
		{"OXM_OF_ARP_THA", oxm, 25, 6, true},
		{"OXM_OF_MPLS_LABEL", oxm, 34, 4, false},
		{"OXM_OF_MPLS_TC", oxm, 35, 1, false},
		{"OXM_OF_MPLS_BOS", oxm, 36, 1, false},
		{"NXM_NX_MPLS_TTL", nxm1, 30, 1, false},
		{"OXM_OF_TUNNEL_ID", oxm, 38, 8, true},
		{"NXM_NX_TUN_IPV4_SRC", nxm1, 31, 4, true},
		{"NXM_NX_TUN_IPV4_DST", nxm1, 32, 4, true},
		{"NXM_NX_TUN_IPV6_SRC", nxm1, 109, 16, true},
		{"NXM_NX_TUN_IPV6_DST", nxm1, 110, 16, true},
		{"OXM_OF_ACTSET_OUTPUT", oxm, 43, 4, false},
		{"NXM_NX_PKT_MARK", nxm1, 33, 4, true},
		{"NXM_NX_CONJ_ID", nxm1, 37, 4, false},
		{"NXM_NX_CT_STATE", nxm1, 105, 4, true},
		{"NXM_NX_CT_ZONE", nxm1, 106, 2, false},
		{"NXM_NX_CT_MARK", nxm1, 107, 4, true},
		{"NXM_NX_CT_LABEL", nxm1, 108, 16, true},
		{"NXM_NX_CT_NW_PROTO", nxm1, 119, 1, false},
		{"NXM_NX_CT_NW_SRC", nxm1, 120, 4, true},
		{"NXM_NX_CT_NW_DST", nxm1, 121, 4, true},
		{"NXM_NX_CT_IPV6_SRC", nxm1, 122, 16, true},
		{"NXM_NX_CT_IPV6_DST", nxm1, 123, 16, true},
		{"NXM_NX_CT_TP_SRC", nxm1, 124, 2, true},
		{"NXM_NX_CT_TP_DST", nxm1, 125, 2, true},
		// Names of OpenFlow 1.0 that another field's bits hide behind.
		{"NXM_OF_VLAN_TCI", nxm0, 4, 2, true},
		{"NXM_OF_IP_TOS", nxm0, 5, 1, false},
	}
	for i := range 16 {
		list = append(list, &Field{"NXM_NX_REG" + strconv.Itoa(i), nxm1, uint8(i), 4, true})
	}
	for i := range 8 {
		list = append(list, &Field{"OXM_OF_PKT_REG" + strconv.Itoa(i), pktReg, uint8(i), 8, true})
	}
	for i := range 4 {
		list = append(list, &Field{"NXM_NX_XXREG" + strconv.Itoa(i), nxm1, firstXXReg + uint8(i), 16, true})
	}
	// Open vSwitch takes these for fields above, but does not send them in
	// OpenFlow 1.5.
	return append(list, []*Field{
		{"NXM_OF_ETH_DST", nxm0, 1, 6, true},
		{"NXM_OF_ETH_SRC", nxm0, 2, 6, true},
		{"NXM_OF_ETH_TYPE", nxm0, 3, 2, false},
		{"NXM_OF_IP_PROTO", nxm0, 6, 1, false},
		{"NXM_OF_IP_SRC", nxm0, 7, 4, true},
		{"NXM_OF_IP_DST", nxm0, 8, 4, true},
		{"NXM_OF_TCP_SRC", nxm0, 9, 2, true},
		{"NXM_OF_TCP_DST", nxm0, 10, 2, true},
		{"NXM_OF_UDP_SRC", nxm0, 11, 2, true},
		{"NXM_OF_UDP_DST", nxm0, 12, 2, true},
		{"NXM_OF_ICMP_TYPE", nxm0, 13, 1, false},
		{"NXM_OF_ICMP_CODE", nxm0, 14, 1, false},
		{"NXM_OF_ARP_OP", nxm0, 15, 2, false},
		{"NXM_OF_ARP_SPA", nxm0, 16, 4, true},
		{"NXM_OF_ARP_TPA", nxm0, 17, 4, true},
		{"NXM_NX_TUN_ID", nxm1, 16, 8, true},
		{"NXM_NX_ARP_SHA", nxm1, 17, 6, true},
		{"NXM_NX_ARP_THA", nxm1, 18, 6, true},
		{"NXM_NX_IPV6_SRC", nxm1, 19, 16, true},
		{"NXM_NX_IPV6_DST", nxm1, 20, 16, true},
		{"NXM_NX_ICMPV6_TYPE", nxm1, 21, 1, false},
		{"NXM_NX_ICMPV6_CODE", nxm1, 22, 1, false},
		{"NXM_NX_ND_TARGET", nxm1, 23, 16, true},
		{"NXM_NX_ND_SLL", nxm1, 24, 6, true},
		{"NXM_NX_ND_TLL", nxm1, 25, 6, true},
		{"NXM_NX_IPV6_LABEL", nxm1, 27, 4, true},
		{"NXM_NX_IP_ECN", nxm1, 28, 1, false},
		{"NXM_NX_TCP_FLAGS", nxm1, 34, 2, true},
	}...)
}

type classNumber struct {
	class  uint16
	number uint8
}

func indexFields() map[classNumber]*Field {
	m := make(map[classNumber]*Field, len(Fields))
	for _, f := range Fields {
		m[classNumber{f.Class, f.Number}] = f
	}
	return m
}

// appendHeader appends the 32-bit header that names the field; n is the length
// of what follows it.
func (f *Field) appendHeader(b []byte, masked bool, n int) []byte {
	b = be.AppendUint16(b, f.Class)
	number := f.Number << 1
	if masked {
		number |= 1
	}
	return append(b, number, uint8(n))
}
