package ofp

import "fmt"

// PacketOut sends a packet through actions.
type PacketOut struct {
	// Match has the in_port, and other metadata that the packet begins with.
	Match   Match
	Actions []Action
	// Packet is the frame, from its Ethernet header on.
	Packet []byte
}

// Type implements Message.
func (*PacketOut) Type() Type { return TypePacketOut }

func (m *PacketOut) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = be.AppendUint32(b, noBuffer)
	length := len(b)
	b = m.Match.append(append(b, 0, 0, 0, 0))
	n := len(b)
	b = appendActions(b, m.Actions)
	if len(b)-n > MaxLen {
		return b, fmt.Errorf("packet-out with actions of %d bytes: %w", len(b)-n, ErrTooLong)
	}
	putLen(b, length, n)
	return append(b, m.Packet...), nil
}

func parsePacketOut(r *reader, _ Header) (Message, error) {
	m := &PacketOut{}
	r.skip(4)
	n := int(r.u16())
	r.skip(2)
	var err error
	if m.Match, err = parseMatch(r); err != nil {
		return nil, err
	}
	s := r.sub(n)
	if m.Actions, err = parseActions(s, 0); err != nil {
		return nil, err
	}
	r.join(s)
	m.Packet = r.rest()
	return m, nil
}

// PacketIn is a packet that the switch hands to the controller.
type PacketIn struct {
	// Packet is the frame, from its Ethernet header on, or its beginning;
	// TotalLen is the length of the whole.
	Packet   []byte
	TotalLen uint32
	// Table and Cookie are those of the flow that sent it.
	Table  uint8
	Cookie uint64
	Reason Reason
	// Metadata are the fields that are not in the packet and not zero: in_port,
	// registers (those of 32 bits), ct_state.
	Metadata Match
	// UserData is what the flow's action gave.
	UserData []byte
	// Continuation, if the action paused the packet, resumes it.
	Continuation []byte
}

// Type implements Message. The message is the one of OpenFlow if it was
// enabled by no PacketInFormat.
func (*PacketIn) Type() Type { return TypeExperimenter }

// The types of the properties of Open vSwitch's packet-in.
const (
	pktPacket       = 0
	pktFullLen      = 1
	pktBuffer       = 2
	pktTable        = 3
	pktCookie       = 4
	pktReason       = 5
	pktMetadata     = 6
	pktUserData     = 7
	pktContinuation = 8
)

func (m *PacketIn) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = be.AppendUint32(be.AppendUint32(b, nicira), extPacketIn2)
	b = property(b, pktPacket, m.Packet...)
	b = property(b, pktFullLen, be.AppendUint32(nil, m.TotalLen)...)
	b = property(b, pktTable, m.Table)
	// A 64-bit value stands behind padding, to be aligned.
	b = property(b, pktCookie, be.AppendUint64(make([]byte, 4), m.Cookie)...)
	b = property(b, pktReason, byte(m.Reason))
	var oxms []byte
	for i := range m.Metadata {
		oxms = m.Metadata[i].append(oxms)
	}
	b = property(b, pktMetadata, oxms...)
	if m.UserData != nil {
		b = property(b, pktUserData, m.UserData...)
	}
	if m.Continuation != nil {
		b = property(b, pktContinuation, m.Continuation...)
	}
	return b, nil
}

// parsePacketIn2 reads Open vSwitch's own packet-in, which alone has user data.
func parsePacketIn2(r *reader) (Message, error) {
	m := &PacketIn{Reason: ReasonApplyAction}
	whole := false
	for r.more() {
		kind := r.u16()
		p := r.property(int(r.u16()))
		var err error
		switch kind {
		case pktPacket:
			m.Packet = p.rest()
		case pktFullLen:
			m.TotalLen, whole = p.u32(), true
		case pktTable:
			m.Table = p.u8()
		case pktCookie:
			p.skip(4)
			m.Cookie = p.u64()
		case pktReason:
			m.Reason = Reason(p.u8())
		case pktMetadata:
			m.Metadata = parseKnown(p)
		case pktUserData:
			m.UserData = p.rest()
		case pktContinuation:
			m.Continuation = p.rest()
		case pktBuffer:
		default:
			err = fmt.Errorf("property %d of a packet-in: %w", kind, ErrUnknown)
		}
		r.join(p)
		if err != nil {
			return nil, err
		}
	}
	if !whole {
		m.TotalLen = uint32(len(m.Packet))
	}
	return m, nil
}

// parsePacketIn reads OpenFlow's packet-in.
func parsePacketIn(r *reader, _ Header) (Message, error) {
	r.skip(4)
	m := &PacketIn{TotalLen: uint32(r.u16()), Reason: Reason(r.u8()), Table: r.u8(), Cookie: r.u64()}
	kind, n := r.u16(), int(r.u16())
	if r.err == nil && kind != 1 {
		return nil, fmt.Errorf("match type %d: %w", kind, ErrUnknown)
	}
	s := r.sub(n - 4)
	r.skip((8 - n%8) % 8)
	m.Metadata = parseKnown(s)
	r.join(s)
	r.skip(2)
	m.Packet = r.rest()
	return m, nil
}

// parseKnown reads the fields that are known here and passes over the others:
// nothing depends on a packet's metadata being complete.
func parseKnown(r *reader) Match {
	var m Match
	for r.more() {
		class, number, n := r.u16(), r.u8(), int(r.u8())
		s := r.sub(n)
		if f := fieldsByHeader[classNumber{class, number >> 1}]; f != nil && n >= int(f.Bytes) && r.err == nil {
			x := OXM{Field: f, Value: readValue(s.take(int(f.Bytes))), Masked: number&1 != 0}
			if x.Masked && n == 2*int(f.Bytes) {
				x.Mask = readValue(s.take(int(f.Bytes)))
			}
			m = appendNarrow(m, x)
		}
	}
	return m
}

// appendNarrow appends a field; wide registers, which the switch prefers, as the
// registers of 32 bits that they are made of.
func appendNarrow(m Match, x OXM) Match {
	parts := []uint32{uint32(x.Value.Hi >> 32), uint32(x.Value.Hi), uint32(x.Value.Lo >> 32), uint32(x.Value.Lo)}
	masks := []uint32{uint32(x.Mask.Hi >> 32), uint32(x.Mask.Hi), uint32(x.Mask.Lo >> 32), uint32(x.Mask.Lo)}
	first := 0
	switch f := x.Field; {
	case f.Class == pktReg:
		first, parts, masks = 2*int(f.Number), parts[2:], masks[2:]
	case f.Class == nxm1 && f.Number >= firstXXReg && f.Number < firstXXReg+4:
		first = 4 * int(f.Number-firstXXReg)
	default:
		return append(m, x)
	}
	for i, v := range parts {
		if !x.Masked || masks[i] != 0 {
			m = append(m, OXM{Field: fieldsByHeader[classNumber{nxm1, uint8(first + i)}], Value: Value{Lo: uint64(v)}})
		}
	}
	return m
}

// InPort returns the OpenFlow port that the packet came in by, zero if the
// metadata has none.
func (m *PacketIn) InPort() uint32 {
	for i := range m.Metadata {
		if f := m.Metadata[i].Field; f.Class == oxm && f.Number == 0 {
			return uint32(m.Metadata[i].Value.Lo)
		}
	}
	return 0
}

// Registers returns the packet's registers; those that the metadata does not have
// are zero.
func (m *PacketIn) Registers() (out [16]uint32) {
	for i := range m.Metadata {
		if f := m.Metadata[i].Field; f.Class == nxm1 && int(f.Number) < len(out) {
			out[f.Number] = uint32(m.Metadata[i].Value.Lo)
		}
	}
	return out
}
