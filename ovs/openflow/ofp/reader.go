package ofp

import (
	"fmt"
	"slices"
)

// reader takes a message apart. After the first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", what, ErrMalformed)
	}
	r.b = nil
}

// take returns the next n bytes, which remain those of the message.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("truncated")
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) skip(n int) { r.take(n) }

// sub returns a reader of the next n bytes.
func (r *reader) sub(n int) *reader {
	b := r.take(n)
	return &reader{b: b, err: r.err}
}

// property returns a reader of what a property holds of which type and length,
// 4 bytes, have been read: n is that length. Padding to a multiple of 8 bytes
// follows it; at the end of a message that may be missing.
func (r *reader) property(n int) *reader {
	s := r.sub(n - 4)
	r.skip(min((8-n%8)%8, len(r.b)))
	return s
}

// join takes over the error of a part.
func (r *reader) join(s *reader) {
	if r.err == nil && s.err != nil {
		r.err, r.b = s.err, nil
	}
}

// rest returns a copy of all that is left.
func (r *reader) rest() []byte { return slices.Clone(r.take(len(r.b))) }

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return be.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return be.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return be.Uint64(b)
	}
	return 0
}

// more reports whether there is something left to read.
func (r *reader) more() bool { return r.err == nil && len(r.b) > 0 }

var zeros [8]byte

// pad pads what begins at start to a multiple of 8 bytes.
func pad(b []byte, start int) []byte {
	return append(b, zeros[:(8-(len(b)-start)%8)%8]...)
}

// putLen writes the length of what begins at start, at place, which is a
// uint16. What is too long for that makes the message too long, which Append
// finds.
func putLen(b []byte, place, start int) { be.PutUint16(b[place:], uint16(len(b)-start)) }

// entry returns a reader of the next entry of a list: its length, a uint16, is
// the first that it holds.
func (r *reader) entry() *reader {
	if len(r.b) < 2 {
		r.fail("entry without a length")
		return &reader{err: r.err}
	}
	n := int(be.Uint16(r.b))
	if n < 2 {
		r.fail("entry of no length")
		return &reader{err: r.err}
	}
	return r.sub(n)
}
