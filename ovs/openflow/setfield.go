package openflow

import (
	"strconv"
	"strings"
)

// subfield is a range of bits of a field: first is the lowest of them.
type subfield struct {
	field       *field
	first, bits int
}

// parseSubfield reads "NXM_NX_REG0[0..15]", "reg0[3]", "reg0[]" or "reg0".
func parseSubfield(s string) (subfield, bool) {
	s = strings.TrimSpace(s)
	name, span, ranged := strings.Cut(s, "[")
	f := lookField(strings.TrimSpace(name))
	if f == nil || f.bits == 0 {
		return subfield{}, false
	}
	all := subfield{f, 0, f.bits}
	if !ranged {
		return all, true
	}
	span, found := strings.CutSuffix(span, "]")
	if !found {
		return all, false
	}
	if span = strings.TrimSpace(span); span == "" {
		return all, true
	}
	lo, hi, two := strings.Cut(span, "..")
	first, err1 := strconv.ParseUint(lo, 10, 8)
	last := first
	var err2 error
	if two {
		last, err2 = strconv.ParseUint(hi, 10, 8)
	}
	sf := subfield{f, int(first), int(last) - int(first) + 1}
	return sf, err1 == nil && err2 == nil && first <= last && int(last) < f.bits
}

func (s subfield) append(b []byte) []byte {
	b = append(append(b, s.field.nxm...), '[')
	if s.bits != s.field.bits {
		b = strconv.AppendInt(b, int64(s.first), 10)
		if s.bits > 1 {
			b = append(b, ".."...)
			b = strconv.AppendInt(b, int64(s.first+s.bits-1), 10)
		}
	}
	return append(b, ']')
}

// appendSubfield appends the canonical text of a subfield.
func appendSubfield(b []byte, s string) ([]byte, subfield, bool) {
	sf, ok := parseSubfield(s)
	if !ok || sf.field.nxm == "" {
		return b, sf, false
	}
	return sf.append(b), sf, true
}

func appendMove(b []byte, args string) ([]byte, bool) {
	src, dst, ok := strings.Cut(args, "->")
	if !ok {
		return b, false
	}
	b, _, ok = appendSubfield(append(b, "move:"...), src)
	if !ok {
		return b, false
	}
	b, _, ok = appendSubfield(append(b, "->"...), dst)
	return b, ok
}

// appendLoad writes a load as the set_field that a bridge dumps it as.
func appendLoad(b []byte, args string) ([]byte, bool) {
	value, dst, ok := strings.Cut(args, "->")
	if !ok {
		return b, false
	}
	sf, ok := parseSubfield(dst)
	if !ok {
		return b, false
	}
	v, ok := parseInt(strings.TrimSpace(value))
	if !ok || !v.and(ones(sf.bits).not()).zero() {
		return b, false
	}
	return sf.field.appendSet(b, v.shl(sf.first), ones(sf.bits).shl(sf.first)), true
}

func appendSetField(b []byte, args string) ([]byte, bool) {
	i := strings.LastIndex(args, "->")
	if i < 0 {
		return b, false
	}
	value, dst := strings.TrimSpace(args[:i]), strings.TrimSpace(args[i+2:])
	if strings.Contains(dst, "[") {
		return appendLoad(b, args)
	}
	return appendSet(b, dst, value)
}

// setter writes an older action that sets one whole field.
func setter(name string) func([]byte, string) ([]byte, bool) {
	return func(b []byte, args string) ([]byte, bool) { return appendSet(b, name, args) }
}

func appendSet(b []byte, name, value string) ([]byte, bool) {
	f := lookField(name)
	if f == nil {
		return b, false
	}
	v, mask, ok := f.parse(value)
	if !ok {
		return b, false
	}
	return f.appendSet(b, v, mask), true
}

func (f *field) appendSet(b []byte, value, mask u128) []byte {
	b = f.append(append(b, "set_field:"...), value, mask)
	return append(append(b, "->"...), f.name...)
}
