package ofp

import "fmt"

// Value is the value of a field as a number, of which the field's last byte has
// the lowest bits.
type Value struct{ Hi, Lo uint64 }

// OXM is a field with a value.
type OXM struct {
	Field *Field
	Value Value
	// Mask has the bits that count, if Masked.
	Mask   Value
	Masked bool
}

// Match is what a flow matches: all of the fields.
type Match []OXM

func (v Value) append(b []byte, n int) []byte {
	var w [16]byte
	be.PutUint64(w[:8], v.Hi)
	be.PutUint64(w[8:], v.Lo)
	return append(b, w[16-n:]...)
}

func readValue(b []byte) Value {
	var w [16]byte
	copy(w[16-len(b):], b)
	return Value{be.Uint64(w[:8]), be.Uint64(w[8:])}
}

func (x *OXM) append(b []byte) []byte {
	n := int(x.Field.Bytes)
	if !x.Masked {
		return x.Value.append(x.Field.appendHeader(b, false, n), n)
	}
	return x.Mask.append(x.Value.append(x.Field.appendHeader(b, true, 2*n), n), n)
}

// parseOXM reads one field with its value.
func parseOXM(r *reader) (x OXM, err error) {
	f, masked, n, err := parseFieldHeader(r)
	if err != nil {
		return x, err
	}
	want := int(f.Bytes)
	if masked {
		want *= 2
	}
	if n != want {
		return x, fmt.Errorf("field %s of %d bytes: %w", f.Name, n, ErrMalformed)
	}
	b := r.take(n)
	if b == nil {
		return x, r.err
	}
	x = OXM{Field: f, Value: readValue(b[:f.Bytes]), Masked: masked}
	if masked {
		x.Mask = readValue(b[f.Bytes:])
	}
	return x, nil
}

// parseFieldHeader reads the header of a field; n is the length that it says
// its value and mask have together.
func parseFieldHeader(r *reader) (f *Field, masked bool, n int, err error) {
	class, number, length := r.u16(), r.u8(), r.u8()
	if r.err != nil {
		return nil, false, 0, r.err
	}
	f = fieldsByHeader[classNumber{class, number >> 1}]
	if f == nil {
		return nil, false, 0, fmt.Errorf("field %d of class %#x: %w", number>>1, class, ErrUnknown)
	}
	return f, number&1 != 0, int(length), nil
}

// append appends the match as flow_mod and others have it: with its type and
// length, padded to a multiple of 8 bytes.
func (m Match) append(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 1, 0, 0) // the type of matches made of OXM
	for i := range m {
		b = m[i].append(b)
	}
	putLen(b, start+2, start)
	return pad(b, start)
}

func parseMatch(r *reader) (Match, error) {
	kind, n := r.u16(), int(r.u16())
	if r.err == nil && kind != 1 {
		return nil, fmt.Errorf("match type %d: %w", kind, ErrUnknown)
	}
	s := r.sub(n - 4)
	r.skip((8 - n%8) % 8)
	m, err := parseOXMs(s)
	r.join(s)
	return m, err
}

// parseOXMs reads fields with values to the end.
func parseOXMs(r *reader) (Match, error) {
	var m Match
	for r.more() {
		if m == nil {
			m = make(Match, 0, 4)
		}
		x, err := parseOXM(r)
		if err != nil {
			return nil, err
		}
		m = append(m, x)
	}
	return m, r.err
}

// Subfield is a range of bits of a field; First is the lowest of them.
type Subfield struct {
	Field       *Field
	First, Bits int
}

// packed returns offset and length as several extensions have them.
func (s Subfield) packed() uint16 { return uint16(s.First<<6 | (s.Bits - 1)) }

func unpack(f *Field, v uint16) Subfield {
	return Subfield{f, int(v >> 6), int(v&0x3f) + 1}
}

// valid reports whether the bits are some of the field's.
func (s Subfield) valid() bool {
	return s.Field != nil && s.First >= 0 && s.Bits > 0 && s.First+s.Bits <= 8*int(s.Field.Bytes)
}

// appendSource appends the header of a subfield's field.
func (s Subfield) appendSource(b []byte) []byte {
	return s.Field.appendHeader(b, false, int(s.Field.Bytes))
}

// parseField reads the header of a field that stands without a value.
func parseField(r *reader) (*Field, error) {
	f, masked, n, err := parseFieldHeader(r)
	if err == nil && (masked || n != int(f.Bytes)) {
		err = fmt.Errorf("header of field %s: %w", f.Name, ErrMalformed)
	}
	return f, err
}

// Value returns the value that a match has of a field, zero if none.
func (m Match) Value(f *Field) Value {
	for i := range m {
		if m[i].Field == f {
			return m[i].Value
		}
	}
	return Value{}
}

// FieldNamed returns the field with a name of ovs-fields(7), nil if there is
// none here.
func FieldNamed(name string) *Field {
	for _, f := range Fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}
