package openflow

import (
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// encodeInstructions returns what a list of actions in canonical spelling means
// for a flow.
func encodeInstructions(text string) (ofp.Instructions, error) {
	var x ofp.Instructions
	// Instructions come in one order; ovs-ofctl says so of all others.
	stage := 0
	enter := func(n int) bool {
		ok := stage < n || n == 0 && stage == 0
		stage = n
		return ok
	}
	for text != "" {
		var tok string
		tok, text = nextToken(text, false)
		name, args := splitAction(tok)
		ok := false
		var err error
		switch name {
		case "drop":
			ok = text == "" && len(x.Apply) == 0 && stage == 0
		case "clear_actions":
			ok = enter(1) && tok == name
			x.Clear = true
		case "write_actions":
			ok = enter(2)
			x.HasWrite = true
			x.Write, err = encodeActions(args, false)
		case "write_metadata":
			value, mask, masked := strings.Cut(args, "/")
			v, ok1 := parseInt(value)
			k, ok2 := u128{lo: ^uint64(0)}, true
			if masked {
				k, ok2 = parseInt(mask)
			}
			ok = enter(3) && ok1 && ok2 && k.lo != 0
			x.Metadata, x.MetadataMask = v.lo, k.lo
		case "goto_table":
			n, err := strconv.ParseUint(args, 10, 8)
			ok = enter(4) && err == nil && n > 0 && n < 255
			x.Goto = uint8(n)
		default:
			ok = enter(0)
			var a ofp.Action
			a, err = encodeAction(tok, false)
			x.Apply = append(x.Apply, a)
		}
		if err != nil {
			return x, err
		}
		if !ok {
			return x, errUnencodable
		}
	}
	return x, nil
}

// encodeActions returns actions in canonical spelling as they are sent. Within
// a ct action the fields of connections may be set.
func encodeActions(text string, inCT bool) ([]ofp.Action, error) {
	if text == "drop" {
		return nil, nil
	}
	var list []ofp.Action
	for text != "" {
		var tok string
		tok, text = nextToken(text, false)
		a, err := encodeAction(tok, inCT)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// splitAction takes "name:args", "name(args)" or "name" apart.
func splitAction(s string) (name, args string) {
	i := strings.IndexAny(s, ":(")
	if i < 0 {
		return s, ""
	}
	if s[i] == '(' && s[len(s)-1] == ')' {
		return s[:i], s[i+1 : len(s)-1]
	}
	return s[:i], s[i+1:]
}

// reservedPorts are the outputs that have names.
var reservedPorts = map[string]uint32{
	"IN_PORT": ofp.PortInPort, "NORMAL": ofp.PortNormal, "FLOOD": ofp.PortFlood, "ALL": ofp.PortAll, "LOCAL": ofp.PortLocal,
}

// noArguments are the actions that are no more than their names.
var noArguments = map[string]ofp.Action{
	"dec_ttl": ofp.DecTTL{}, "pop_vlan": ofp.PopVLAN{}, "ct_clear": ofp.CTClear{}, "exit": ofp.Exit{},
}

func encodeAction(s string, inCT bool) (ofp.Action, error) {
	if a, ok := noArguments[s]; ok {
		return a, nil
	}
	if p, ok := reservedPorts[s]; ok {
		return ofp.Output{Port: p}, nil
	}
	name, args := splitAction(s)
	if paren := len(name) < len(s) && s[len(name)] == '('; paren {
		switch name {
		case "resubmit":
			return encodeResubmit(args)
		case "conjunction":
			return encodeConjunction(args)
		case "ct":
			return encodeCT(args)
		case "learn":
			return encodeLearn(args)
		case "clone":
			list, err := encodeActions(args, false)
			return ofp.Clone{Actions: list}, err
		case "controller":
			return encodeController(args)
		case "check_pkt_larger":
			return encodeCheckPktLarger(args)
		}
		return nil, errUnencodable
	}
	switch name {
	case "set_field":
		return encodeSetField(args, inCT)
	case "move":
		src, dst, _ := strings.Cut(args, "->")
		from, err1 := encodeSubfield(src)
		to, err2 := encodeSubfield(dst)
		if err1 != nil || err2 != nil || from.Bits != to.Bits {
			return nil, errUnencodable
		}
		if strings.Contains(dst, "_CT_") && !inCT {
			return nil, errUnencodable
		}
		return ofp.CopyField{Src: from, Dst: to}, nil
	case "output":
		if n, err := strconv.ParseUint(args, 10, 16); err == nil {
			if n >= firstReservedPort || n == 0 {
				return nil, errUnencodable
			}
			return ofp.Output{Port: uint32(n)}, nil
		}
		src, err := encodeSubfield(args)
		return ofp.OutputField{Src: src, MaxLen: 65535}, err
	case "CONTROLLER":
		n, err := strconv.ParseUint(args, 10, 16)
		if err != nil {
			return nil, errUnencodable
		}
		return ofp.Output{Port: ofp.PortController, MaxLen: uint16(n)}, nil
	case "resubmit":
		n, err := encodePort(args)
		return ofp.Resubmit{Port: n, Table: ofp.CurrentTable}, err
	case "push", "pop":
		sf, err := encodeSubfield(args)
		if name == "pop" {
			return ofp.Pop{Subfield: sf}, err
		}
		return ofp.Push{Subfield: sf}, err
	case "note":
		return encodeNote(args)
	case "push_vlan":
		n, err := strconv.ParseUint(args, 0, 16)
		if err != nil {
			return nil, errUnencodable
		}
		return ofp.PushVLAN{EtherType: uint16(n)}, nil
	case "group", "set_queue", "meter":
		n, err := strconv.ParseUint(args, 10, 32)
		if err != nil {
			return nil, errUnencodable
		}
		switch name {
		case "group":
			return ofp.Group{ID: uint32(n)}, nil
		case "set_queue":
			return ofp.SetQueue{ID: uint32(n)}, nil
		}
		return ofp.Meter{ID: uint32(n)}, nil
	}
	return nil, errUnencodable
}

// encodeSetField leaves to ovs-ofctl what it refuses before it sends it, and the
// fields of VLAN tags, of which not all spellings are known here.
func encodeSetField(args string, inCT bool) (ofp.Action, error) {
	i := strings.LastIndex(args, "->")
	if i < 0 {
		return nil, errUnencodable
	}
	f := lookField(args[i+2:])
	if f == nil || strings.Contains(f.name, "vlan") || strings.HasPrefix(f.name, "ct_") && !inCT {
		return nil, errUnencodable
	}
	v, mask, ok := f.parse(args[:i])
	if !ok {
		return nil, errUnencodable
	}
	x, err := encodeValue(f, v, mask)
	return ofp.SetField{OXM: x}, err
}

func encodePort(s string) (uint16, error) {
	v, _, ok := fields["in_port"].parse(s)
	if !ok {
		return 0, errUnencodable
	}
	return uint16(v.lo), nil
}

func encodeResubmit(args string) (ofp.Action, error) {
	inPort, table, _ := strings.Cut(args, ",")
	a := ofp.Resubmit{Port: ofp.ResubmitInPort}
	n, err := strconv.ParseUint(table, 10, 8)
	if err != nil || n == ofp.CurrentTable {
		return nil, errUnencodable
	}
	a.Table = uint8(n)
	if inPort != "" {
		a.Port, err = encodePort(inPort)
	}
	return a, err
}

func encodeConjunction(args string) (ofp.Action, error) {
	id, rest, _ := strings.Cut(args, ",")
	k, n, _ := strings.Cut(rest, "/")
	i, err1 := strconv.ParseUint(id, 10, 32)
	x, err2 := strconv.ParseUint(k, 10, 8)
	y, err3 := strconv.ParseUint(n, 10, 8)
	if err1 != nil || err2 != nil || err3 != nil || x < 1 || x > y || y < 2 || y > 64 {
		return nil, errUnencodable
	}
	return ofp.Conjunction{ID: uint32(i), Clause: uint8(x - 1), Clauses: uint8(y)}, nil
}

func encodeNote(args string) (ofp.Action, error) {
	data, err := parseOctets(args)
	if n := len(data); err != nil || n < 6 || (n+10)%8 != 0 {
		return nil, errUnencodable
	}
	return ofp.Note{Data: data}, nil
}

// parseOctets reads "01.02.ff".
func parseOctets(s string) ([]byte, error) {
	var b []byte
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 16, 8)
		if err != nil || len(part) != 2 {
			return nil, errUnencodable
		}
		b = append(b, byte(n))
	}
	return b, nil
}

func encodeCheckPktLarger(args string) (ofp.Action, error) {
	// What follows the parenthesis is not cut off: "1500)->NXM_NX_REG0[3]".
	number, dst, _ := strings.Cut(args, ")->")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return nil, errUnencodable
	}
	sf, err := encodeSubfield(dst)
	if err == nil && sf.Bits != 1 {
		err = errUnencodable
	}
	return ofp.CheckPktLarger{Bytes: uint16(n), Dst: sf}, err
}
