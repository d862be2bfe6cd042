package ofp

// FlowCommand is what a FlowMod does.
type FlowCommand uint8

// The commands. The strict ones mean the flow with exactly the match and
// priority.
const (
	FlowAdd FlowCommand = iota
	FlowModify
	FlowModifyStrict
	FlowDelete
	FlowDeleteStrict
)

// Flags of flows.
const (
	FlagSendFlowRem    = 1 << iota // tell the controller when it is removed
	FlagCheckOverlap               // refuse a flow that overlaps another of its priority
	FlagResetCounts                // begin counting anew
	FlagNoPacketCounts             // packets need not be counted
	FlagNoByteCounts               // bytes need not be counted
)

// AllTables, as a table of a request, means all of them.
const AllTables = 255

// FlowMod changes the flow table (section 7.3.4.3).
type FlowMod struct {
	Cookie, CookieMask uint64
	Table              uint8
	Command            FlowCommand
	// IdleTimeout and HardTimeout are in seconds; zero means never.
	IdleTimeout, HardTimeout uint16
	Priority                 uint16
	Flags                    uint16
	// Importance decides which flow goes when the table is full.
	Importance   uint16
	Match        Match
	Instructions Instructions
}

// noBuffer, as the buffer of a message, means that there is none. It is also
// the number of any port and any group.
const noBuffer = 0xffffffff

// Type implements Message.
func (*FlowMod) Type() Type { return TypeFlowMod }

func (m *FlowMod) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = be.AppendUint64(be.AppendUint64(b, m.Cookie), m.CookieMask)
	b = append(b, m.Table, uint8(m.Command))
	b = be.AppendUint16(be.AppendUint16(be.AppendUint16(b, m.IdleTimeout), m.HardTimeout), m.Priority)
	b = be.AppendUint32(be.AppendUint32(be.AppendUint32(b, noBuffer), PortAny), anyGroup)
	b = be.AppendUint16(be.AppendUint16(b, m.Flags), m.Importance)
	return m.Instructions.append(m.Match.append(b)), nil
}

func parseFlowMod(r *reader, _ Header) (Message, error) {
	m := &FlowMod{Cookie: r.u64(), CookieMask: r.u64(), Table: r.u8(), Command: FlowCommand(r.u8())}
	m.IdleTimeout, m.HardTimeout, m.Priority = r.u16(), r.u16(), r.u16()
	r.skip(12) // buffer, port and group
	m.Flags, m.Importance = r.u16(), r.u16()
	var err error
	if m.Match, err = parseMatch(r); err != nil {
		return nil, err
	}
	m.Instructions, err = parseInstructions(r)
	return m, err
}
