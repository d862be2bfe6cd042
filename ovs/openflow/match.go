package openflow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Ethernet types and IP protocols that matches name by keywords.
const (
	ethIPv4    = 0x0800
	ethARP     = 0x0806
	ethRARP    = 0x8035
	ethIPv6    = 0x86dd
	ethMPLS    = 0x8847
	ethMPLSMC  = 0x8848
	protoICMP  = 1
	protoIGMP  = 2
	protoTCP   = 6
	protoUDP   = 17
	protoICMP6 = 58
	protoSCTP  = 132
)

// protocol is what a match says of the Ethernet type and the IP protocol; -1
// where it says nothing.
type protocol struct{ eth, ip int }

var anyProtocol = protocol{-1, -1}

var keywords = map[string]protocol{
	"ip": {ethIPv4, -1}, "ipv4": {ethIPv4, -1}, "ipv6": {ethIPv6, -1}, "ip6": {ethIPv6, -1},
	"icmp": {ethIPv4, protoICMP}, "icmp6": {ethIPv6, protoICMP6},
	"tcp": {ethIPv4, protoTCP}, "tcp6": {ethIPv6, protoTCP},
	"udp": {ethIPv4, protoUDP}, "udp6": {ethIPv6, protoUDP},
	"sctp": {ethIPv4, protoSCTP}, "sctp6": {ethIPv6, protoSCTP},
	"arp": {ethARP, -1}, "rarp": {ethRARP, -1},
	"mpls": {ethMPLS, -1}, "mplsm": {ethMPLSMC, -1},
}

// spellings is keywords turned round, one keyword for each.
var spellings = map[protocol]string{
	{ethIPv4, -1}: "ip", {ethIPv6, -1}: "ipv6",
	{ethIPv4, protoICMP}: "icmp", {ethIPv6, protoICMP6}: "icmp6",
	{ethIPv4, protoTCP}: "tcp", {ethIPv6, protoTCP}: "tcp6",
	{ethIPv4, protoUDP}: "udp", {ethIPv6, protoUDP}: "udp6",
	{ethIPv4, protoSCTP}: "sctp", {ethIPv6, protoSCTP}: "sctp6",
	{ethARP, -1}: "arp", {ethRARP, -1}: "rarp",
	{ethMPLS, -1}: "mpls", {ethMPLSMC, -1}: "mplsm",
}

func (p protocol) isIP() bool { return p.eth == ethIPv4 || p.eth == ethIPv6 }

// attributes are what a flow may have besides match, actions and the fields of
// ovs.Flow. They stand among its matches, so that nothing is lost between a
// dump and the bundle, but are no part of its Key.
var attributes = map[string]bool{
	"hard_timeout": true, "idle_timeout": true, "importance": true,
	"send_flow_rem": true, "check_overlap": true, "reset_counts": true,
	"no_packet_counts": true, "no_byte_counts": true,
}

// term is one field of a canonical match.
type term struct {
	name        string // as a dump calls it
	field       *field // nil if the field is not known or its value not understood
	needs       prereq
	value, mask u128
	text        string // the value, if the field is nil
}

func (t *term) append(b []byte) []byte {
	b = append(b, t.name...)
	if t.field == nil {
		if t.text != "" {
			b = append(append(b, '='), t.text...)
		}
		return b
	}
	return t.field.append(append(b, '='), t.value, t.mask)
}

// match is the canonical form of what a flow matches.
type match struct {
	protocol protocol
	terms    []term // sorted by name
	attrs    []string
	idle     int
	// problems are the readings of the match that OVS would drop or refuse.
	problems []string
}

func (m *match) problem(format string, args ...any) {
	m.problems = append(m.problems, fmt.Sprintf(format, args...))
}

// matchOf reads the match of a flow.
func matchOf(f *ovs.Flow) *match {
	m := &match{protocol: anyProtocol, terms: make([]term, 0, len(f.Matches)+1), idle: f.IdleTimeout}
	if f.Protocol != "" {
		m.add(string(f.Protocol), "", false)
	}
	if f.InPort != 0 {
		n := strconv.Itoa(f.InPort)
		if f.InPort == ovs.PortLOCAL {
			n = "LOCAL"
		}
		m.add("in_port", n, true)
	}
	for _, x := range f.Matches {
		text, err := x.MarshalText()
		if err != nil {
			m.problem("match %#v: %v", x, err)
			continue
		}
		m.addText(string(text))
	}
	m.finish()
	return m
}

// addText adds the fields of a text such as "tcp,tp_dst=80".
func (m *match) addText(s string) {
	for s != "" {
		var tok string
		tok, s = nextToken(s, true)
		if tok == "" {
			continue
		}
		name, value, found := strings.Cut(tok, "=")
		m.add(name, value, found)
	}
}

// add adds one field, or a keyword if it has no value.
func (m *match) add(name, value string, hasValue bool) {
	if !hasValue {
		if p, ok := keywords[name]; ok {
			m.protocol = p
			return
		}
	}
	if attributes[name] {
		if name == "idle_timeout" {
			if n, err := strconv.Atoi(value); err == nil {
				m.idle = n
				return
			}
		}
		if hasValue {
			name += "=" + value
		}
		m.attrs = append(m.attrs, name)
		return
	}
	switch name {
	case "table", "priority", "cookie", "actions", "out_port", "out_group", "duration":
		m.problem("%s among the matches", name)
		return
	}
	f := portFields[name]
	if f == nil {
		f = lookField(name)
	}
	if f == nil {
		m.terms = append(m.terms, term{name: name, text: value})
		return
	}
	v, mask, ok := f.parse(value)
	if !ok {
		if f.format != opaque {
			m.problem("field %s: bad value %q", name, value)
		}
		m.terms = append(m.terms, term{name: f.match, needs: f.needs, text: strings.ToLower(value)})
		return
	}
	m.addValue(f, v, mask)
}

// addValue adds a field with a value.
func (m *match) addValue(f *field, v, mask u128) {
	if mask.zero() {
		return // it matches everything
	}
	switch {
	case (f.name == "eth_type" || f.name == "nw_proto") && mask != ones(f.bits):
		m.problem("field %s takes no mask", f.name)
		m.terms = append(m.terms, term{name: f.match, field: f, value: v, mask: mask})
	case f.name == "eth_type":
		m.protocol.eth = int(v.lo)
	case f.name == "nw_proto":
		m.protocol.ip = int(v.lo)
	case strings.HasPrefix(f.name, "xreg"), strings.HasPrefix(f.name, "xxreg"):
		m.addWide(f, v, mask)
	default:
		m.terms = append(m.terms, term{name: f.match, field: f, needs: f.needs, value: v, mask: mask})
	}
}

// addWide adds a match on xregN or xxregN as dumps show it, in registers of 32
// bits, of which the most significant comes first.
func (m *match) addWide(f *field, v, mask u128) {
	n, _ := strconv.Atoi(strings.TrimLeft(f.name, "xreg"))
	regs := f.bits / 32
	for i := range regs {
		shift := 32 * (regs - 1 - i)
		low := ones(32)
		if part := mask.shr(shift).and(low); !part.zero() {
			reg := fields["reg"+strconv.Itoa(n*regs+i)]
			m.terms = append(m.terms, term{name: reg.name, field: reg, value: v.shr(shift).and(low), mask: part})
		}
	}
}

// finish settles what depends on the whole match: names that mean another field
// for ARP, the keyword, the order, and what OVS would drop.
func (m *match) finish() {
	if m.protocol.eth == ethARP || m.protocol.eth == ethRARP {
		m.settleARP()
	}
	for i := range m.terms {
		t := &m.terms[i]
		switch {
		case t.field == nil:
		case t.field.name == "ip_dscp":
			t.field, t.value = fields["nw_tos"], t.value.shl(2)
			t.name, t.mask = t.field.match, ones(t.field.bits)
		case t.field.name == "vlan_vid" && t.mask.lo == 0x1fff && t.value.lo&0x1000 != 0:
			t.field, t.value = fields["dl_vlan"], u128{lo: t.value.lo & 0xfff}
			t.name, t.mask = t.field.match, ones(t.field.bits)
		}
		if !m.meets(t.needs) {
			m.problem("field %s has no meaning without its prerequisite (%s)", t.name, t.needs)
		}
	}
	if _, ok := spellings[m.protocol]; !ok {
		m.spellProtocol()
	}
	slices.SortStableFunc(m.terms, func(a, b term) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(m.terms); i++ {
		if m.terms[i].name == m.terms[i-1].name {
			m.problem("field %s stands twice", m.terms[i].name)
		}
	}
	slices.Sort(m.attrs)
}

// settleARP gives the ARP fields their own names: OpenFlow 1.0 called them by
// those of IP.
func (m *match) settleARP() {
	if m.protocol.ip >= 0 {
		f := fields["arp_op"]
		m.terms = append(m.terms, term{name: f.match, field: f, value: u128{lo: uint64(m.protocol.ip)}, mask: ones(f.bits)})
		m.protocol.ip = -1
	}
	for i := range m.terms {
		t := &m.terms[i]
		if t.field == nil {
			continue
		}
		switch t.field.name {
		case "ip_src":
			t.field = fields["arp_spa"]
		case "ip_dst":
			t.field = fields["arp_tpa"]
		default:
			continue
		}
		t.name, t.needs = t.field.match, t.field.needs
	}
}

// spellProtocol turns a protocol without a keyword of its own into the keyword
// and the fields that dumps use.
func (m *match) spellProtocol() {
	p := m.protocol
	if p.ip >= 0 {
		f := fields["nw_proto"]
		m.terms = append(m.terms, term{name: f.match, field: f, value: u128{lo: uint64(p.ip)}, mask: ones(f.bits)})
		if !p.isIP() {
			m.problem("field nw_proto has no meaning without its prerequisite (%s)", onIP)
		}
	}
	if p.eth >= 0 && !p.isIP() {
		f := fields["eth_type"]
		m.terms = append(m.terms, term{name: f.match, field: f, value: u128{lo: uint64(p.eth)}, mask: ones(f.bits)})
	}
}

// keyword returns the keyword of the match's protocol, empty if it has none.
func (m *match) keyword() string {
	if s, ok := spellings[m.protocol]; ok {
		return s
	}
	return spellings[protocol{m.protocol.eth, -1}]
}

// append appends keyword and terms, each preceded by a comma.
func (m *match) append(b []byte) []byte {
	if k := m.keyword(); k != "" {
		b = append(append(b, ','), k...)
	}
	for i := range m.terms {
		b = m.terms[i].append(append(b, ','))
	}
	return b
}
