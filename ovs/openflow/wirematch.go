package openflow

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// The bit of a VLAN id that says that there is a tag at all.
const vlanPresent = 0x1000

// fragments are the values of nw_frag: whether the packet is a fragment, and
// whether it is one after the first.
var fragments = map[string]struct{ value, mask uint64 }{
	"no": {0, 3}, "yes": {1, 1}, "first": {1, 3}, "later": {3, 3}, "not_later": {0, 2},
}

// ranked are the fields of a match with their places in the order of matches.
type ranked struct {
	ofp.OXM
	rank int
}

// encodeMatch returns a match as it is sent.
func encodeMatch(m *match) (ofp.Match, error) {
	list := make([]ranked, 0, len(m.terms)+3)
	add := func(f *field, value, mask u128) error {
		x, err := encodeValue(f, value, mask)
		list = append(list, ranked{x, toWire[f].rank})
		return err
	}
	var err error
	if m.protocol.eth >= 0 {
		err = add(fields["eth_type"], u128{lo: uint64(m.protocol.eth)}, ones(16))
	}
	if m.protocol.ip >= 0 && err == nil {
		err = add(fields["nw_proto"], u128{lo: uint64(m.protocol.ip)}, ones(8))
	}
	hasTag := false
	for i := range m.terms {
		if err != nil {
			return nil, err
		}
		t := &m.terms[i]
		switch t.name {
		case "dl_type", "nw_proto":
			continue // in the protocol already
		case "nw_frag":
			f, known := fragments[t.text]
			if !known {
				return nil, errUnencodable
			}
			frag := fields["ip_frag"]
			mask := u128{lo: f.mask}
			if f.mask == 3 {
				mask = ones(frag.bits)
			}
			err = add(frag, u128{lo: f.value}, mask)
			continue
		}
		f := t.field
		switch {
		case f == nil:
			return nil, errUnencodable
		case t.name == "dl_vlan":
			hasTag = true
			err = add(fields["vlan_vid"], u128{lo: t.value.lo | vlanPresent}, ones(13))
			continue
		case t.name == "vlan_vid":
			return nil, errUnencodable
		default:
			f = m.settledField(t)
		}
		if f == nil {
			return nil, errUnencodable
		}
		mask := t.mask
		if mask == ones(t.field.bits) {
			mask = ones(f.bits)
		}
		err = add(f, t.value, mask)
	}
	if err != nil {
		return nil, err
	}
	if !hasTag && m.term("dl_vlan_pcp") != nil {
		tag := u128{lo: vlanPresent}
		if err := add(fields["vlan_vid"], tag, tag); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return a.rank - b.rank })
	out := make(ofp.Match, len(list))
	for i := range list {
		out[i] = list[i].OXM
	}
	return out, nil
}

// settledField returns the field that a term means in a match of its protocol:
// several fields go by one name.
func (m *match) settledField(t *term) *field {
	switch t.name {
	case "in_port":
		return fields["in_port_oxm"]
	case "tp_src", "tp_dst":
		which := strings.TrimPrefix(t.name, "tp_")
		switch m.protocol.ip {
		case protoTCP:
			return fields["tcp_"+which]
		case protoUDP:
			return fields["udp_"+which]
		case protoSCTP:
			return fields["sctp_"+which]
		}
		return nil
	case "icmp_type", "icmp_code":
		if m.protocol.ip == protoICMP6 {
			return fields[strings.Replace(t.name, "icmp", "icmpv6", 1)]
		}
	}
	return t.field
}

func (m *match) term(name string) *term {
	for i := range m.terms {
		if m.terms[i].name == name {
			return &m.terms[i]
		}
	}
	return nil
}

// decodeMatch returns a match as it was received.
func decodeMatch(list ofp.Match) (*match, error) {
	m := &match{protocol: anyProtocol, terms: make([]term, 0, len(list))}
	for _, x := range list {
		f, value, mask, err := decodeValue(x)
		if err != nil {
			return nil, err
		}
		switch f.name {
		case "ip_frag":
			if err := m.addFragment(value.lo, mask.lo&3); err != nil {
				return nil, err
			}
		case "in_port_oxm":
			m.addValue(fields["in_port"], value, ones(16))
		case "ct_state":
			// Of flags without a name there is no text.
			named := ones(len(ctStateFlags))
			if x.Masked && !mask.and(named.not()).zero() {
				return nil, errUnencodable
			}
			m.addValue(f, value.and(named), mask.and(named))
		case "vlan_vid":
			if err := m.addTag(list, value, mask); err != nil {
				return nil, err
			}
		default:
			m.addValue(f, value, mask)
		}
	}
	m.finish()
	if len(m.problems) > 0 {
		return nil, errUnencodable
	}
	return m, nil
}

func (m *match) addFragment(value, mask uint64) error {
	for name, f := range fragments {
		if f.value == value && f.mask == mask {
			m.terms = append(m.terms, term{name: "nw_frag", needs: onIP, text: name})
			return nil
		}
	}
	return errUnencodable
}

// addTag adds a match on the VLAN id as dumps show it: as dl_vlan, as what
// dl_vlan_pcp implies, or as some bits of the tag.
func (m *match) addTag(list ofp.Match, value, mask u128) error {
	present := u128{lo: vlanPresent}
	hasPCP := slices.ContainsFunc(list, func(x ofp.OXM) bool { return x.Field.Name == "OXM_OF_VLAN_PCP" })
	switch {
	case mask == ones(13) && value.lo&vlanPresent != 0:
		m.addValue(fields["vlan_vid"], value, mask)
	case hasPCP && mask == present && value == present:
	case !hasPCP:
		m.addValue(fields["vlan_tci"], value, mask)
	default:
		return errUnencodable
	}
	return nil
}

// flagAttributes are the attributes of a flow that are flags on the wire.
var flagAttributes = []struct {
	name string
	flag uint16
}{
	{"send_flow_rem", ofp.FlagSendFlowRem}, {"check_overlap", ofp.FlagCheckOverlap}, {"reset_counts", ofp.FlagResetCounts},
	{"no_packet_counts", ofp.FlagNoPacketCounts}, {"no_byte_counts", ofp.FlagNoByteCounts},
}

// encodeAttributes sets what a flow has besides match and actions.
func (m *match) encodeAttributes(mod *ofp.FlowMod) error {
	mod.IdleTimeout = uint16(m.idle)
	for _, a := range m.attrs {
		name, value, hasValue := strings.Cut(a, "=")
		if hasValue {
			n, err := strconv.ParseUint(value, 10, 16)
			place := map[string]*uint16{"hard_timeout": &mod.HardTimeout, "importance": &mod.Importance}[name]
			if err != nil || place == nil || *place != 0 || n == 0 || value != strconv.FormatUint(n, 10) {
				return errUnencodable
			}
			*place = uint16(n)
			continue
		}
		known := false
		for _, f := range flagAttributes {
			if f.name == name && mod.Flags&f.flag == 0 {
				mod.Flags |= f.flag
				known = true
			}
		}
		if !known {
			return errUnencodable
		}
	}
	return nil
}
