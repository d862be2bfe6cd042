// Package flow builds OpenFlow flows in the types of go-openvswitch, with the
// actions that library has no constructor for, and compares them.
//
// Numbers are written the way ovs-ofctl dump-flows prints them, so that a flow
// reads the same in a golden file, in a log and on the bridge.
package flow

import (
	"fmt"
	"net"
	"net/netip"
	"sort"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Reg is the number of a 32-bit packet register, 0 to 15 (ovs-fields(7),
// "reg0").
type Reg uint8

// String returns the register's name in ovs-ofctl syntax, "reg4".
func (r Reg) String() string { return "reg" + strconv.Itoa(int(r)) }

// NXM returns the register's name where a whole field is a source or
// destination, "NXM_NX_REG4[]".
func (r Reg) NXM() string { return "NXM_NX_REG" + strconv.Itoa(int(r)) + "[]" }

// Text is an action given by its text in ovs-actions(7) syntax.
type Text string

// MarshalText implements ovs.Action.
func (t Text) MarshalText() ([]byte, error) { return []byte(t), nil }

// GoString implements ovs.Action.
func (t Text) GoString() string { return fmt.Sprintf("flow.Text(%q)", string(t)) }

// Goto continues in a later table (ovs-actions(7), "goto_table").
func Goto(table int) ovs.Action { return Text("goto_table:" + strconv.Itoa(table)) }

// Set writes v into register r.
func Set(r Reg, v uint32) ovs.Action {
	return Text("set_field:" + hex(v) + "->" + r.String())
}

// SetMasked writes the bits of v under mask into register r.
func SetMasked(r Reg, v, mask uint32) ovs.Action {
	return Text("set_field:" + hex(v) + "/" + hex(mask) + "->" + r.String())
}

// SetText writes a value given as text into a field.
func SetText(value, field string) ovs.Action { return Text("set_field:" + value + "->" + field) }

// Is matches register r on exactly v.
func Is(r Reg, v uint32) ovs.Match {
	return ovs.FieldMatch(r.String(), hex(v))
}

func hex(v uint32) string {
	if v == 0 {
		return "0"
	}
	return "0x" + strconv.FormatUint(uint64(v), 16)
}

// IsMasked matches register r on v under mask.
func IsMasked(r Reg, v, mask uint32) ovs.Match {
	return ovs.FieldMatch(r.String(), fmt.Sprintf("%#x/%#x", v, mask))
}

// Match matches a field on a value, both as text.
func Match(field, value string) ovs.Match { return ovs.FieldMatch(field, value) }

// IPProtocol returns the keyword that selects an address's family: "ip" or
// "ipv6".
func IPProtocol(a netip.Addr) ovs.Protocol {
	if a.Is4() {
		return ovs.ProtocolIPv4
	}
	return ovs.ProtocolIPv6
}

// SrcField names the source address field of an address's family.
func SrcField(a netip.Addr) string {
	if a.Is4() {
		return "nw_src"
	}
	return "ipv6_src"
}

// DstField names the destination address field of an address's family.
func DstField(a netip.Addr) string {
	if a.Is4() {
		return "nw_dst"
	}
	return "ipv6_dst"
}

// EUI64 returns the link-local address that follows from an Ethernet address
// (RFC 4291, appendix A).
func EUI64(mac net.HardwareAddr) netip.Addr {
	b := [16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}
	return netip.AddrFrom16(b)
}

// Key names a flow by what OpenFlow identifies it with: table, priority and
// match. It is comparable among flows that this module builds; text that comes
// from a bridge must first be normalised.
func Key(f *ovs.Flow) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(f.Table))
	b.WriteByte('/')
	b.WriteString(strconv.Itoa(f.Priority))
	b.WriteByte(' ')
	b.WriteString(string(f.Protocol))
	if f.InPort != 0 {
		b.WriteString(",in_port=")
		b.WriteString(strconv.Itoa(f.InPort))
	}
	for _, m := range f.Matches {
		t, err := m.MarshalText()
		if err != nil {
			panic("flow: a match of our own does not render: " + err.Error())
		}
		b.WriteByte(',')
		b.Write(t)
	}
	return b.String()
}

// Body returns what a flow does and whom it is for: cookie and actions.
func Body(f *ovs.Flow) string {
	var b strings.Builder
	b.WriteString(strconv.FormatUint(f.Cookie, 16))
	for _, a := range f.Actions {
		t, err := a.MarshalText()
		if err != nil {
			panic("flow: an action of our own does not render: " + err.Error())
		}
		b.WriteByte(' ')
		b.Write(t)
	}
	return b.String()
}

// Diff returns what must be added and deleted to come from old to new. A flow
// of both lists whose cookie or actions differ is only added: that replaces it.
// The result is in the lists' order.
func Diff(old, new []*ovs.Flow) (add, del []*ovs.Flow) {
	if len(old) == 0 {
		return new, nil
	}
	was := make(map[string]*ovs.Flow, len(old))
	for _, f := range old {
		was[Key(f)] = f
	}
	for _, f := range new {
		k := Key(f)
		o, ok := was[k]
		if !ok || Body(o) != Body(f) {
			add = append(add, f)
		}
		delete(was, k)
	}
	for _, f := range old {
		if _, gone := was[Key(f)]; gone {
			del = append(del, f)
		}
	}
	return add, del
}

// SortedKeys returns m's keys in ascending order.
func SortedKeys[K comparable, V any](m map[K]V, less func(a, b K) bool) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return less(keys[i], keys[j]) })
	return keys
}
