package ofp

import "fmt"

// The subtypes of Open vSwitch's own actions (ovs-actions(7)).
const (
	nxNote           = 8
	nxResubmitTable  = 14
	nxOutputField    = 15
	nxLearn          = 16
	nxExit           = 17
	nxPush           = 27
	nxPop            = 28
	nxConjunction    = 34
	nxCT             = 35
	nxNAT            = 36
	nxController     = 37
	nxClone          = 42
	nxCTClear        = 43
	nxCheckPktLarger = 49
)

// CurrentTable, as the table of a Resubmit, is the one the action is in.
const CurrentTable = 255

// Resubmit searches a table again and comes back.
type Resubmit struct {
	// Port stands for in_port meanwhile; ResubmitInPort leaves that as it is.
	Port  uint16
	Table uint8
}

// ResubmitInPort is the in_port that the packet has.
const ResubmitInPort = 0xfff8

// OutputField sends the packet to the port that a field holds.
type OutputField struct {
	Src    Subfield
	MaxLen uint16
}

// Conjunction says that the flow is one of a clause's: the Clause-th, counted
// from zero, of Clauses.
type Conjunction struct {
	ID              uint32
	Clause, Clauses uint8
}

// Exit ends all processing.
type Exit struct{}

// CTClear forgets what the connection tracker said.
type CTClear struct{}

// Note does nothing; Data is for whoever reads the flow. Its length is 6 bytes
// or 8 times some more.
type Note struct{ Data []byte }

// Push puts bits on the stack, Pop takes them off.
type (
	Push struct{ Subfield }
	Pop  struct{ Subfield }
)

// Clone does actions to a copy of the packet.
type Clone struct{ Actions []Action }

// CheckPktLarger writes one bit: whether the packet is longer than Bytes.
type CheckPktLarger struct {
	Bytes uint16
	Dst   Subfield
}

// extend begins an action of Open vSwitch's; endExtension ends it.
func extend(b []byte, subtype uint16) []byte {
	b = be.AppendUint32(append(b, 0xff, 0xff, 0, 0), nicira)
	return be.AppendUint16(b, subtype)
}

func endExtension(b []byte, start int) []byte {
	b = pad(b, start)
	putLen(b, start+2, start)
	return b
}

func (a Resubmit) append(b []byte) []byte {
	n := len(b)
	return endExtension(append(be.AppendUint16(extend(b, nxResubmitTable), a.Port), a.Table), n)
}

func (a OutputField) append(b []byte) []byte {
	n := len(b)
	b = a.Src.appendSource(be.AppendUint16(extend(b, nxOutputField), a.Src.packed()))
	return endExtension(append(be.AppendUint16(b, a.MaxLen), zeros[:6]...), n)
}

func (a Conjunction) append(b []byte) []byte {
	b = extend(b, nxConjunction)
	b = be.AppendUint32(append(b, a.Clause, a.Clauses), a.ID)
	b[len(b)-13] = 16 // the length; there are flows with thousands of these
	return b
}

func (Exit) append(b []byte) []byte    { return endExtension(extend(b, nxExit), len(b)) }
func (CTClear) append(b []byte) []byte { return endExtension(extend(b, nxCTClear), len(b)) }

func (a Note) append(b []byte) []byte {
	n := len(b)
	return endExtension(append(extend(b, nxNote), a.Data...), n)
}

func appendStack(b []byte, subtype uint16, s Subfield) []byte {
	n := len(b)
	b = s.appendSource(be.AppendUint16(extend(b, subtype), uint16(s.First)))
	return endExtension(be.AppendUint16(b, uint16(s.Bits)), n)
}

func (a Push) append(b []byte) []byte { return appendStack(b, nxPush, a.Subfield) }
func (a Pop) append(b []byte) []byte  { return appendStack(b, nxPop, a.Subfield) }

func (a Clone) append(b []byte) []byte {
	n := len(b)
	return endExtension(appendActions(append(extend(b, nxClone), zeros[:6]...), a.Actions), n)
}

func (a CheckPktLarger) append(b []byte) []byte {
	n := len(b)
	b = be.AppendUint16(extend(b, nxCheckPktLarger), a.Bytes)
	b = a.Dst.appendSource(be.AppendUint16(b, uint16(a.Dst.First)))
	return endExtension(append(b, zeros[:6]...), n)
}

func parseNicira(r *reader, depth int) (Action, error) {
	subtype := r.u16()
	a, err := parseExtension(r, subtype, depth)
	if err != nil {
		err = fmt.Errorf("extension %d: %w", subtype, err)
	}
	return a, err
}

func parseExtension(r *reader, subtype uint16, depth int) (Action, error) {
	switch subtype {
	case nxResubmitTable:
		return Resubmit{Port: r.u16(), Table: r.u8()}, nil
	case nxConjunction:
		a := Conjunction{Clause: r.u8(), Clauses: r.u8()}
		a.ID = r.u32()
		return a, nil
	case nxExit:
		return Exit{}, nil
	case nxCTClear:
		return CTClear{}, nil
	case nxNote:
		return Note{r.rest()}, nil
	case nxOutputField:
		packed := r.u16()
		f, err := parseField(r)
		if err != nil {
			return nil, err
		}
		a := OutputField{unpack(f, packed), r.u16()}
		return a, check(a.Src)
	case nxPush, nxPop:
		first := int(r.u16())
		f, err := parseField(r)
		if err != nil {
			return nil, err
		}
		s := Subfield{f, first, int(r.u16())}
		if subtype == nxPop {
			return Pop{s}, check(s)
		}
		return Push{s}, check(s)
	case nxClone:
		r.skip(6)
		list, err := parseActions(r, depth+1)
		return Clone{list}, err
	case nxCheckPktLarger:
		n, first := r.u16(), int(r.u16())
		f, err := parseField(r)
		if err != nil {
			return nil, err
		}
		s := Subfield{f, first, 1}
		return CheckPktLarger{n, s}, check(s)
	case nxCT:
		return parseCT(r, depth)
	case nxNAT:
		return parseNAT(r)
	case nxController:
		return parseController(r)
	case nxLearn:
		return parseLearn(r)
	}
	return nil, ErrUnknown
}

func check(s Subfield) error {
	if !s.valid() {
		return fmt.Errorf("bits beyond field: %w", ErrMalformed)
	}
	return nil
}
