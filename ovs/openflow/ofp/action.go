package ofp

import "fmt"

// Action is one thing that is done to a packet.
type Action interface {
	append(b []byte) []byte
}

// Reserved ports (section 7.2.1).
const (
	PortInPort     = 0xfffffff8
	PortNormal     = 0xfffffffa
	PortFlood      = 0xfffffffb
	PortAll        = 0xfffffffc
	PortController = 0xfffffffd
	PortLocal      = 0xfffffffe
	PortAny        = 0xffffffff
)

// The types of actions (section 7.2.6).
const (
	actOutput       = 0
	actPushVLAN     = 17
	actPopVLAN      = 18
	actSetQueue     = 21
	actGroup        = 22
	actDecTTL       = 24
	actSetField     = 25
	actCopyField    = 28
	actMeter        = 29
	actExperimenter = 0xffff
)

// Output sends the packet to a port.
type Output struct {
	Port uint32
	// MaxLen is how many bytes the controller gets, if that is the port.
	MaxLen uint16
}

// Group hands the packet to a group.
type Group struct{ ID uint32 }

// SetQueue chooses the queue of later outputs.
type SetQueue struct{ ID uint32 }

// Meter drops the packet if the meter says so.
type Meter struct{ ID uint32 }

// DecTTL takes one from TTL or hop limit.
type DecTTL struct{}

// PopVLAN takes the outermost VLAN tag off.
type PopVLAN struct{}

// PushVLAN puts a VLAN tag on.
type PushVLAN struct{ EtherType uint16 }

// SetField writes a field, or those bits of it that a mask has.
type SetField struct{ OXM }

// CopyField copies bits of a field to another of the same number; ovs-actions(7)
// calls it move.
type CopyField struct{ Src, Dst Subfield }

func number32(b []byte, kind uint16, v uint32) []byte {
	return be.AppendUint32(append(be.AppendUint16(b, kind), 0, 8), v)
}

func (a Output) append(b []byte) []byte {
	b = be.AppendUint32(append(b, 0, actOutput, 0, 16), a.Port)
	return append(be.AppendUint16(b, a.MaxLen), zeros[:6]...)
}
func (a Group) append(b []byte) []byte    { return number32(b, actGroup, a.ID) }
func (a SetQueue) append(b []byte) []byte { return number32(b, actSetQueue, a.ID) }
func (a Meter) append(b []byte) []byte    { return number32(b, actMeter, a.ID) }
func (DecTTL) append(b []byte) []byte     { return number32(b, actDecTTL, 0) }
func (PopVLAN) append(b []byte) []byte    { return number32(b, actPopVLAN, 0) }
func (a PushVLAN) append(b []byte) []byte { return number32(b, actPushVLAN, uint32(a.EtherType)<<16) }

func (a SetField) append(b []byte) []byte {
	start := len(b)
	b = a.OXM.append(append(b, 0, actSetField, 0, 0))
	b = pad(b, start)
	putLen(b, start+2, start)
	return b
}

func (a CopyField) append(b []byte) []byte {
	start := len(b)
	b = be.AppendUint16(append(b, 0, actCopyField, 0, 0), uint16(a.Src.Bits))
	b = be.AppendUint16(be.AppendUint16(b, uint16(a.Src.First)), uint16(a.Dst.First))
	b = a.Dst.appendSource(a.Src.appendSource(append(b, 0, 0)))
	b = pad(b, start)
	putLen(b, start+2, start)
	return b
}

func appendActions(b []byte, actions []Action) []byte {
	for _, a := range actions {
		b = a.append(b)
	}
	return b
}

// maxDepth bounds how deep actions nest: a clone in a clone, say.
const maxDepth = 8

// parseActions reads actions to the end.
func parseActions(r *reader, depth int) ([]Action, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("actions nest deeper than %d: %w", maxDepth, ErrUnknown)
	}
	var list []Action
	for r.more() {
		kind, n := r.u16(), int(r.u16())
		s := r.sub(n - 4)
		if r.err == nil && (n < 8 || n%8 != 0) {
			return nil, fmt.Errorf("action type %d of %d bytes: %w", kind, n, ErrMalformed)
		}
		a, err := parseAction(s, kind, depth)
		if err == nil {
			err = s.err
		}
		if err != nil {
			return nil, fmt.Errorf("action type %d: %w", kind, err)
		}
		list = append(list, a)
	}
	return list, r.err
}

func parseAction(r *reader, kind uint16, depth int) (Action, error) {
	switch kind {
	case actOutput:
		return Output{Port: r.u32(), MaxLen: r.u16()}, nil
	case actGroup:
		return Group{r.u32()}, nil
	case actSetQueue:
		return SetQueue{r.u32()}, nil
	case actMeter:
		return Meter{r.u32()}, nil
	case actDecTTL:
		return DecTTL{}, nil
	case actPopVLAN:
		return PopVLAN{}, nil
	case actPushVLAN:
		return PushVLAN{r.u16()}, nil
	case actSetField:
		x, err := parseOXM(r)
		return SetField{x}, err
	case actCopyField:
		return parseCopyField(r)
	case actExperimenter:
		if id := r.u32(); id != nicira {
			return nil, fmt.Errorf("experimenter %#x: %w", id, ErrUnknown)
		}
		return parseNicira(r, depth)
	}
	return nil, ErrUnknown
}

func parseCopyField(r *reader) (Action, error) {
	bits, src, dst := int(r.u16()), int(r.u16()), int(r.u16())
	r.skip(2)
	from, err := parseField(r)
	if err != nil {
		return nil, err
	}
	to, err := parseField(r)
	if err != nil {
		return nil, err
	}
	a := CopyField{Subfield{from, src, bits}, Subfield{to, dst, bits}}
	if !a.Src.valid() || !a.Dst.valid() {
		return nil, fmt.Errorf("bits beyond field %s or %s: %w", from.Name, to.Name, ErrMalformed)
	}
	return a, nil
}
