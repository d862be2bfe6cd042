package openflow

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

// Reserved OpenFlow port numbers, as 16 bits. OVS takes the 32-bit numbers of
// later OpenFlow versions (0xfffffffe) for the same ports.
const (
	portLocal      = 0xfffe
	portController = 0xfffd
)

// ctStateFlags are the names of the bits of ct_state, lowest first.
var ctStateFlags = []string{"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"}

// tcpFlagNames are the names of the bits of tcp_flags, lowest first; three more
// bits of the field have none.
var tcpFlagNames = []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"}

// parse reads "value" or "value/mask". It returns false for text that ovs-ofctl
// would refuse or that this package has no reading of.
func (f *field) parse(s string) (value, mask u128, ok bool) {
	full := ones(f.bits)
	switch f.format {
	case ctState:
		return parseFlags(s, ctStateFlags, full)
	case tcpFlags:
		return parseFlags(s, tcpFlagNames, full)
	case opaque:
		return u128{}, u128{}, false
	}
	v, m, masked := strings.Cut(s, "/")
	if value, ok = f.parseOne(v); !ok {
		return value, mask, false
	}
	mask = full
	if masked {
		mask, ok = f.parseMask(m)
	}
	// A value too wide for its field is ovs-ofctl's to refuse.
	if !value.and(full.not()).zero() || f.valid != 0 && value.lo&^f.valid != 0 {
		return value, mask, false
	}
	mask = mask.and(full)
	return value.and(mask), mask, ok
}

func (f *field) parseMask(s string) (u128, bool) {
	if f.format != ipv4 && f.format != ipv6 {
		return f.parseOne(s)
	}
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		if int(n) > f.bits {
			return u128{}, false
		}
		return ones(f.bits).and(ones(f.bits - int(n)).not()), true
	}
	return f.parseOne(s)
}

func (f *field) parseOne(s string) (u128, bool) {
	switch f.format {
	case ipv4, ipv6:
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.Is4() != (f.format == ipv4) {
			return u128{}, false
		}
		b := a.As16()
		v := u128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
		if f.format == ipv4 {
			v = v.and(ones(32))
		}
		return v, true
	case mac:
		return parseMAC(s)
	case port:
		switch strings.ToUpper(s) {
		case "LOCAL":
			return u128{lo: portLocal}, true
		case "CONTROLLER":
			return u128{lo: portController}, true
		}
		v, ok := parseInt(s)
		if v.hi == 0 && v.lo >= 0xffffff00 && v.lo <= 0xffffffff {
			v.lo &= 0xffff // the 32-bit number of a reserved port, to its 16-bit one
		}
		return v, ok
	default:
		return parseInt(s)
	}
}

func parseMAC(s string) (u128, bool) {
	var v uint64
	digits, groups := 0, 1
	for i := range len(s) {
		c := s[i]
		var d uint64
		switch {
		case c >= '0' && c <= '9':
			d = uint64(c - '0')
		case c >= 'a' && c <= 'f':
			d = uint64(c-'a') + 10
		case c >= 'A' && c <= 'F':
			d = uint64(c-'A') + 10
		case c == ':' && digits == 2:
			digits = 0
			groups++
			continue
		default:
			return u128{}, false
		}
		if digits++; digits > 2 {
			return u128{}, false
		}
		v = v<<4 | d
	}
	return u128{lo: v}, groups == 6 && digits == 2
}

// parseFlags reads "+a-b", "a|b" (all other flags unset) or numbers.
func parseFlags(s string, names []string, full u128) (value, mask u128, ok bool) {
	if s == "" {
		return value, mask, false
	}
	// Of the flags' numeric masks ovs-ofctl keeps the bits that have names, or
	// for tcp_flags the width of the field.
	if len(names) == len(ctStateFlags) {
		full = ones(len(names))
	}
	if s[0] >= '0' && s[0] <= '9' {
		v, m, masked := strings.Cut(s, "/")
		if value, ok = parseInt(v); !ok {
			return value, mask, false
		}
		mask = full
		if masked {
			if mask, ok = parseInt(m); !ok {
				return value, mask, false
			}
		}
		if !value.and(full.not()).zero() {
			return value, mask, false
		}
		mask = mask.and(full)
		return value.and(mask), mask, true
	}
	signed := s[0] == '+' || s[0] == '-'
	for s != "" {
		sign := byte('+')
		if signed {
			sign, s = s[0], s[1:]
			if sign != '+' && sign != '-' {
				return value, mask, false
			}
		}
		sep := "|"
		if signed {
			sep = "+-"
		}
		name := s
		if i := strings.IndexAny(s, sep); i >= 0 {
			name, s = s[:i], s[i:]
			if !signed {
				s = s[1:]
			}
		} else {
			s = ""
		}
		bit, found := flagBit(name, names)
		if !found {
			return value, mask, false
		}
		mask.lo |= bit
		if sign == '+' {
			value.lo |= bit
		} else {
			value.lo &^= bit
		}
	}
	if !signed {
		mask = full
	}
	return value, mask, true
}

func flagBit(name string, names []string) (uint64, bool) {
	for i, n := range names {
		if strings.EqualFold(n, name) {
			return 1 << i, true
		}
	}
	// A bit of tcp_flags without a name is dumped as "[200]".
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		v, err := strconv.ParseUint(name[1:n-1], 16, 12)
		return v, err == nil && v != 0 && len(names) == len(tcpFlagNames)
	}
	return 0, false
}

// append appends value and mask in the field's canonical spelling; the mask
// only where it is not all ones.
func (f *field) append(b []byte, value, mask u128) []byte {
	exact := mask == ones(f.bits)
	switch f.format {
	case ctState:
		return appendFlags(b, ctStateFlags, value, mask)
	case tcpFlags:
		if exact || mask.lo>>len(tcpFlagNames) != 0 {
			break
		}
		return appendFlags(b, tcpFlagNames, value, mask)
	case port:
		return appendPort(b, value.lo)
	case mac:
		b = appendMAC(b, value.lo)
		if !exact {
			b = appendMAC(append(b, '/'), mask.lo)
		}
		return b
	case ipv4, ipv6:
		b = f.appendAddr(b, value)
		if exact {
			return b
		}
		b = append(b, '/')
		if n, ok := f.prefixLen(mask); ok {
			return strconv.AppendInt(b, int64(n), 10)
		}
		return f.appendAddr(b, mask)
	case decimal:
		if exact {
			return strconv.AppendUint(b, value.lo, 10)
		}
	}
	b = value.appendHex(b)
	if !exact {
		b = mask.appendHex(append(b, '/'))
	}
	return b
}

func (f *field) appendAddr(b []byte, v u128) []byte {
	if f.format == ipv4 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(v.lo))
		return netip.AddrFrom4(a).AppendTo(b)
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], v.hi)
	binary.BigEndian.PutUint64(a[8:], v.lo)
	return netip.AddrFrom16(a).AppendTo(b)
}

// prefixLen returns the length of a mask that is a prefix.
func (f *field) prefixLen(mask u128) (int, bool) {
	n := bits.OnesCount64(mask.hi) + bits.OnesCount64(mask.lo)
	return n, mask == ones(f.bits).and(ones(f.bits-n).not())
}

func appendFlags(b []byte, names []string, value, mask u128) []byte {
	for i, n := range names {
		if mask.lo>>i&1 == 0 {
			continue
		}
		sign := byte('-')
		if value.lo>>i&1 != 0 {
			sign = '+'
		}
		b = append(append(b, sign), n...)
	}
	return b
}

func appendPort(b []byte, v uint64) []byte {
	switch v {
	case portLocal:
		return append(b, "LOCAL"...)
	case portController:
		return append(b, "CONTROLLER"...)
	}
	return strconv.AppendUint(b, v, 10)
}

func appendMAC(b []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	for i := 44; i >= 0; i -= 4 {
		b = append(b, digits[v>>i&0xf])
		if i%8 == 0 && i > 0 {
			b = append(b, ':')
		}
	}
	return b
}
