package openflow

import (
	"strconv"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// appendWireActions appends the text of actions as they were received.
func appendWireActions(b []byte, actions []ofp.Action) ([]byte, error) {
	var err error
	for i, a := range actions {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendWireAction(b, a); err != nil {
			return b, err
		}
	}
	return b, nil
}

// plainTexts are the actions that are no more than their names, portTexts the
// outputs that have one.
var (
	plainTexts = reversed(noArguments)
	portTexts  = reversed(reservedPorts)
)

func reversed[V comparable](m map[string]V) map[V]string {
	r := make(map[V]string, len(m))
	for k, v := range m {
		r[v] = k
	}
	return r
}

func appendWireAction(b []byte, a ofp.Action) ([]byte, error) {
	number := func(name string, v uint64) ([]byte, error) {
		return strconv.AppendUint(append(b, name...), v, 10), nil
	}
	switch a := a.(type) {
	case ofp.DecTTL, ofp.PopVLAN, ofp.CTClear, ofp.Exit:
		return append(b, plainTexts[a]...), nil
	case ofp.Output:
		if name, ok := portTexts[a.Port]; ok {
			return append(b, name...), nil
		}
		switch {
		case a.Port == ofp.PortController:
			return number("CONTROLLER:", uint64(a.MaxLen))
		case a.Port < firstReservedPort:
			return number("output:", uint64(a.Port))
		}
		return b, errUnencodable
	case ofp.Group:
		return number("group:", uint64(a.ID))
	case ofp.SetQueue:
		return number("set_queue:", uint64(a.ID))
	case ofp.Meter:
		return number("meter:", uint64(a.ID))
	case ofp.PushVLAN:
		return strconv.AppendUint(append(b, "push_vlan:0x"...), uint64(a.EtherType), 16), nil
	case ofp.SetField:
		f, value, mask, err := decodeValue(a.OXM)
		if err != nil || f.name == "vlan_vid" || f.format == opaque {
			return b, errUnencodable
		}
		return f.appendSet(b, value, mask), nil
	case ofp.CopyField:
		b, err := appendWireSubfield(append(b, "move:"...), a.Src)
		if err != nil {
			return b, err
		}
		return appendWireSubfield(append(b, "->"...), a.Dst)
	case ofp.OutputField:
		if a.MaxLen != 65535 {
			return b, errUnencodable
		}
		return appendWireSubfield(append(b, "output:"...), a.Src)
	case ofp.Resubmit:
		return appendWireResubmit(b, a), nil
	case ofp.Conjunction:
		b = strconv.AppendUint(append(b, "conjunction("...), uint64(a.ID), 10)
		b = strconv.AppendUint(append(b, ','), uint64(a.Clause)+1, 10)
		b = strconv.AppendUint(append(b, '/'), uint64(a.Clauses), 10)
		return append(b, ')'), nil
	case ofp.CT:
		return appendWireCT(b, a)
	case ofp.Note:
		return appendOctets(append(b, "note:"...), a.Data), nil
	case ofp.Push:
		return appendWireSubfield(append(b, "push:"...), a.Subfield)
	case ofp.Pop:
		return appendWireSubfield(append(b, "pop:"...), a.Subfield)
	case ofp.Clone:
		b, err := appendWireActions(append(b, "clone("...), a.Actions)
		return append(b, ')'), err
	case ofp.Controller:
		return appendWireController(b, a)
	case ofp.Learn:
		return appendWireLearn(b, a)
	case ofp.CheckPktLarger:
		b = strconv.AppendUint(append(b, "check_pkt_larger("...), uint64(a.Bytes), 10)
		return appendWireSubfield(append(b, ")->"...), a.Dst)
	}
	return b, errUnencodable
}

func appendWireResubmit(b []byte, a ofp.Resubmit) []byte {
	if a.Table == ofp.CurrentTable {
		return appendPort(append(b, "resubmit:"...), uint64(a.Port))
	}
	b = append(b, "resubmit("...)
	if a.Port != ofp.ResubmitInPort {
		b = appendPort(b, uint64(a.Port))
	}
	return append(strconv.AppendUint(append(b, ','), uint64(a.Table), 10), ')')
}

// appendInstructions appends the text of what a flow does.
func appendInstructions(b []byte, x *ofp.Instructions) ([]byte, error) {
	start := len(b)
	b, err := appendWireActions(b, x.Apply)
	comma := func() {
		if len(b) > start {
			b = append(b, ',')
		}
	}
	if x.Clear {
		comma()
		b = append(b, "clear_actions"...)
	}
	if x.HasWrite && err == nil {
		comma()
		b, err = appendWireActions(append(b, "write_actions("...), x.Write)
		if len(x.Write) == 0 {
			b = append(b, "drop"...)
		}
		b = append(b, ')')
	}
	if x.MetadataMask != 0 {
		comma()
		b = strconv.AppendUint(append(b, "write_metadata:0x"...), x.Metadata, 16)
		if x.MetadataMask != ^uint64(0) {
			b = strconv.AppendUint(append(b, "/0x"...), x.MetadataMask, 16)
		}
	}
	if x.Goto != 0 {
		comma()
		b = strconv.AppendUint(append(b, "goto_table:"...), uint64(x.Goto), 10)
	}
	if len(b) == start {
		b = append(b, "drop"...)
	}
	return b, err
}
