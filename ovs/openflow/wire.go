package openflow

import (
	"errors"
	"strings"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// errUnencodable says that something has no form in package ofp, or one that
// ovs-ofctl knows more about. Then ovs-ofctl is asked.
var errUnencodable = errors.New("not for the native channel")

// wireField is a field as package ofp has it, and its place in the order of
// matches.
type wireField struct {
	*ofp.Field
	rank int
}

// toWire finds the form in which a field is sent, fromWire the field that was
// received. They join the table of fields here, which is about spelling, with
// the one of package ofp, which is about bytes, by the names of ovs-fields(7).
var toWire, fromWire = joinFields()

func joinFields() (map[*field]wireField, map[*ofp.Field]*field) {
	to := make(map[*field]wireField, len(ofp.Fields))
	from := make(map[*ofp.Field]*field, len(ofp.Fields))
	for i, w := range ofp.Fields {
		f := fields[strings.ToLower(w.Name)]
		if f == nil && w.Name == "OXM_OF_VLAN_VID" {
			f = fields["vlan_vid"]
		}
		if f == nil {
			continue
		}
		from[w] = f
		if _, ok := to[f]; !ok { // the first form is the one of OpenFlow 1.5
			to[f] = wireField{w, i}
		}
	}
	return to, from
}

// wireValue returns a value as it is sent in a field.
func wireValue(f *field, v u128) ofp.Value {
	if f.format == port && f.bits == 32 && v.lo >= firstReservedPort && v.lo <= 0xffff {
		v.lo |= 0xffff0000
	}
	return ofp.Value{Hi: v.hi, Lo: v.lo}
}

// firstReservedPort is the lowest of OpenFlow's reserved ports as 16 bits.
const firstReservedPort = 0xff00

// textValue is the reverse of wireValue.
func textValue(f *field, v ofp.Value) u128 {
	if f.format == port && v.Lo >= 0xffff0000|firstReservedPort && v.Lo <= 0xffffffff {
		v.Lo &= 0xffff
	}
	return u128{v.Hi, v.Lo}
}

// encodeValue returns a field with a value, as it is matched or set.
func encodeValue(f *field, value, mask u128) (ofp.OXM, error) {
	w, ok := toWire[f]
	if !ok {
		return ofp.OXM{}, errUnencodable
	}
	x := ofp.OXM{Field: w.Field, Value: wireValue(f, value)}
	if mask != ones(f.bits) {
		if !w.Maskable || mask.zero() {
			return x, errUnencodable
		}
		x.Masked, x.Mask = true, ofp.Value{Hi: mask.hi, Lo: mask.lo}
	}
	return x, nil
}

// decodeValue is the reverse of encodeValue.
func decodeValue(x ofp.OXM) (f *field, value, mask u128, err error) {
	f = fromWire[x.Field]
	if f == nil {
		return nil, value, mask, errUnencodable
	}
	value, mask = textValue(f, x.Value), ones(f.bits)
	if x.Masked {
		mask = mask.and(u128{x.Mask.Hi, x.Mask.Lo})
	}
	return f, value, mask, nil
}

// encodeSubfield returns the subfield that a canonical text names.
func encodeSubfield(s string) (ofp.Subfield, error) {
	sf, ok := parseSubfield(s)
	w, known := sf.wire()
	if !ok || !known {
		return ofp.Subfield{}, errUnencodable
	}
	return w, nil
}

// appendWireSubfield appends the canonical text of a subfield.
func appendWireSubfield(b []byte, s ofp.Subfield) ([]byte, error) {
	sf, ok := fromWireSubfield(s)
	if !ok {
		return b, errUnencodable
	}
	return sf.append(b), nil
}

// wire returns the subfield as it is sent.
func (s subfield) wire() (ofp.Subfield, bool) {
	w, ok := toWire[s.field]
	return ofp.Subfield{Field: w.Field, First: s.first, Bits: s.bits}, ok
}

// fromWireSubfield is the reverse of wire.
func fromWireSubfield(s ofp.Subfield) (subfield, bool) {
	f := fromWire[s.Field]
	if f == nil || f.nxm == "" || s.First+s.Bits > f.bits {
		return subfield{}, false
	}
	return subfield{f, s.First, s.Bits}, true
}
