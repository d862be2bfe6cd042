package openflow

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// helpers are the protocols whose connections a ct action can have looked at, by
// their ports.
var helpers = map[string]uint16{"ftp": 21, "tftp": 69}

// encodeCT reads the arguments of a ct action in canonical spelling.
func encodeCT(args string) (ofp.Action, error) {
	a := ofp.CT{Table: ofp.NoTable}
	var nat, exec []ofp.Action
	for args != "" {
		var arg string
		arg, args = nextToken(args, false)
		name, value, _ := strings.Cut(arg, "=")
		var err error
		switch {
		case arg == "commit":
			a.Commit = true
		case arg == "force":
			a.Force = true
		case name == "table":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 8)
			a.Table = uint8(n)
		case name == "zone" && strings.Contains(value, "["):
			a.ZoneFrom, err = encodeSubfield(value)
		case name == "zone":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 16)
			a.Zone = uint16(n)
		case name == "alg" && helpers[value] != 0:
			a.ALG = helpers[value]
		case arg == "nat":
			nat = []ofp.Action{ofp.NAT{}}
		case strings.HasPrefix(arg, "nat("):
			var n ofp.NAT
			n, err = encodeNAT(arg[len("nat(") : len(arg)-1])
			if string(appendNAT(nil, n)) != arg {
				err = errUnencodable // a spelling that is not settled here
			}
			nat = []ofp.Action{n}
		case strings.HasPrefix(arg, "exec("):
			if exec, err = encodeActions(arg[len("exec("):len(arg)-1], true); len(exec) == 0 {
				err = errUnencodable
			}
		default:
			err = errUnencodable
		}
		if err != nil {
			return nil, errUnencodable
		}
	}
	a.Actions = slices.Concat(nat, exec)
	return a, nil
}

// encodeNAT reads the arguments of a nat: "src=10.0.0.1-10.0.0.5:80-90,random".
func encodeNAT(args string) (ofp.NAT, error) {
	var a ofp.NAT
	for args != "" {
		var arg string
		arg, args = nextToken(args, false)
		name, value, ranged := strings.Cut(arg, "=")
		switch {
		case name == "src":
			a.Src = true
		case name == "dst":
			a.Dst = true
		case arg == "persistent":
			a.Persistent = true
		case arg == "hash":
			a.Hash = true
		case arg == "random":
			a.Random = true
		default:
			return a, errUnencodable
		}
		if ranged {
			if err := encodeRange(&a, value); err != nil {
				return a, err
			}
		}
	}
	if a.Src == a.Dst {
		return a, errUnencodable
	}
	return a, nil
}

// encodeRange reads addresses and ports. An IPv6 address stands in brackets
// where ports follow.
func encodeRange(a *ofp.NAT, s string) error {
	addrs, ports := s, ""
	if strings.HasPrefix(s, "[") {
		if i := strings.LastIndex(s, "]"); i >= 0 {
			addrs, ports = strings.NewReplacer("[", "", "]", "").Replace(s[:i]), strings.TrimPrefix(s[i+1:], ":")
		}
	} else if strings.Count(s, ":") == 1 {
		addrs, ports, _ = strings.Cut(s, ":")
	}
	low, high, two := strings.Cut(addrs, "-")
	var err error
	if a.Min, err = netip.ParseAddr(low); err != nil || a.Min.Is4In6() || a.Min.Zone() != "" {
		return errUnencodable
	}
	if two {
		a.Max, err = netip.ParseAddr(high)
		if err != nil || a.Max.Is4() != a.Min.Is4() || a.Max.Zone() != "" || a.Max.Is4In6() || a.Max.Less(a.Min) {
			return errUnencodable
		}
	}
	if ports == "" {
		return nil
	}
	low, high, two = strings.Cut(ports, "-")
	n, err := strconv.ParseUint(low, 10, 16)
	if err != nil || n == 0 {
		return errUnencodable
	}
	a.MinPort = uint16(n)
	if two {
		n, err = strconv.ParseUint(high, 10, 16)
		if err != nil || uint16(n) < a.MinPort {
			return errUnencodable
		}
		a.MaxPort = uint16(n)
	}
	return nil
}

// appendWireCT appends a ct action as dumps show it.
func appendWireCT(b []byte, a ofp.CT) ([]byte, error) {
	b = append(b, "ct("...)
	start := len(b)
	comma := func() {
		if len(b) > start {
			b = append(b, ',')
		}
	}
	word := func(set bool, s string) {
		if set {
			comma()
			b = append(b, s...)
		}
	}
	word(a.Commit, "commit")
	word(a.Force, "force")
	word(a.Table != ofp.NoTable, "table="+strconv.Itoa(int(a.Table)))
	var err error
	if a.ZoneFrom.Field != nil {
		word(true, "zone=")
		if b, err = appendWireSubfield(b, a.ZoneFrom); err != nil {
			return b, err
		}
	} else {
		word(a.Zone != 0, "zone="+strconv.Itoa(int(a.Zone)))
	}
	rest := a.Actions
	if len(rest) > 0 {
		if nat, ok := rest[0].(ofp.NAT); ok {
			comma()
			b, rest = appendNAT(b, nat), rest[1:]
		}
	}
	if len(rest) > 0 {
		word(true, "exec(")
		if b, err = appendWireActions(b, rest); err != nil {
			return b, err
		}
		b = append(b, ')')
	}
	if a.ALG != 0 {
		known := false
		for name, port := range helpers {
			if port == a.ALG {
				word(true, "alg="+name)
				known = true
			}
		}
		if !known {
			return b, errUnencodable
		}
	}
	return append(b, ')'), nil
}

func appendNAT(b []byte, a ofp.NAT) []byte {
	b = append(b, "nat"...)
	if !a.Src && !a.Dst {
		return b
	}
	if a.Src {
		b = append(b, "(src"...)
	} else {
		b = append(b, "(dst"...)
	}
	if a.Min.IsValid() {
		bracket := a.Min.Is6() && a.MinPort != 0
		b = appendNATAddr(append(b, '='), a.Min, bracket)
		if a.Max.IsValid() && a.Max != a.Min {
			b = appendNATAddr(append(b, '-'), a.Max, bracket)
		}
		if a.MinPort != 0 {
			b = strconv.AppendUint(append(b, ':'), uint64(a.MinPort), 10)
			if a.MaxPort != 0 && a.MaxPort != a.MinPort {
				b = strconv.AppendUint(append(b, '-'), uint64(a.MaxPort), 10)
			}
		}
	}
	for i, set := range []bool{a.Persistent, a.Hash, a.Random} {
		if set {
			b = append(append(b, ','), natFlags[i]...)
		}
	}
	return append(b, ')')
}

func appendNATAddr(b []byte, a netip.Addr, bracket bool) []byte {
	if !bracket {
		return a.AppendTo(b)
	}
	return append(a.AppendTo(append(b, '[')), ']')
}
