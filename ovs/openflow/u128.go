package openflow

import (
	"math/bits"
	"strconv"
	"strings"
)

// u128 is the value of a field, the widest of which (ct_label, xxreg, IPv6
// addresses) have 128 bits.
type u128 struct{ hi, lo uint64 }

// ones returns the value whose n lowest bits are set.
func ones(n int) u128 {
	switch {
	case n >= 128:
		return u128{^uint64(0), ^uint64(0)}
	case n > 64:
		return u128{1<<(n-64) - 1, ^uint64(0)}
	case n == 64:
		return u128{0, ^uint64(0)}
	default:
		return u128{0, 1<<n - 1}
	}
}

func (a u128) and(b u128) u128 { return u128{a.hi & b.hi, a.lo & b.lo} }

func (a u128) not() u128 { return u128{^a.hi, ^a.lo} }

func (a u128) zero() bool { return a == u128{} }

func (a u128) shl(n int) u128 {
	if n >= 64 {
		return u128{a.lo << (n - 64), 0}
	}
	if n == 0 {
		return a
	}
	return u128{a.hi<<n | a.lo>>(64-n), a.lo << n}
}

func (a u128) shr(n int) u128 {
	if n >= 64 {
		return u128{0, a.hi >> (n - 64)}
	}
	if n == 0 {
		return a
	}
	return u128{a.hi >> n, a.lo>>n | a.hi<<(64-n)}
}

// appendHex appends the value as C's %#x does: zero has no prefix.
func (a u128) appendHex(b []byte) []byte {
	if a.zero() {
		return append(b, '0')
	}
	b = append(b, '0', 'x')
	if a.hi == 0 {
		return strconv.AppendUint(b, a.lo, 16)
	}
	b = strconv.AppendUint(b, a.hi, 16)
	for i := bits.LeadingZeros64(a.lo | 1); i >= 4; i -= 4 {
		b = append(b, '0')
	}
	return strconv.AppendUint(b, a.lo, 16)
}

// parseInt reads a decimal or 0x-prefixed number.
func parseInt(s string) (u128, bool) {
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s = strings.TrimLeft(s[2:], "0")
		if s == "" {
			return u128{}, true
		}
		if len(s) <= 16 {
			v, err := strconv.ParseUint(s, 16, 64)
			return u128{0, v}, err == nil
		}
		hi, err1 := strconv.ParseUint(s[:len(s)-16], 16, 64)
		lo, err2 := strconv.ParseUint(s[len(s)-16:], 16, 64)
		return u128{hi, lo}, err1 == nil && err2 == nil
	}
	// ovs-ofctl reads a leading zero as octal; so does base 0, but it would also
	// take 0b, 0o and underscores.
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return u128{}, false
		}
	}
	v, err := strconv.ParseUint(s, 0, 64)
	return u128{0, v}, err == nil
}
