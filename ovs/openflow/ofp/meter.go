package ofp

import "fmt"

// MeterCommand is what a MeterMod does.
type MeterCommand uint16

// The commands.
const (
	MeterAdd MeterCommand = iota
	MeterModify
	MeterDelete
)

// AllMeters, as the meter of a request or a deletion, means all of them.
const AllMeters = 0xffffffff

// The flags of a meter (section 7.3.4.5).
const (
	meterPackets = 1 << 1 // the rate is one of packets, not of kilobits
	meterBurst   = 1 << 2
	meterStats   = 1 << 3
)

// bandDrop is the type of a band that drops what is above its rate.
const bandDrop = 1

// MeterMod changes the meter table (section 7.3.4.5).
type MeterMod struct {
	Command MeterCommand
	MeterConfig
}

// MeterConfig is a meter with one band, which drops packets above a rate. It is
// the only kind of meter known here.
type MeterConfig struct {
	// ID is 1 to 0xffff0000.
	ID uint32
	// Rate is in packets a second, Burst in packets: how many may come at once.
	// Both are zero for a deletion.
	Rate, Burst uint32
}

// Type implements Message.
func (MeterMod) Type() Type { return TypeMeterMod }

func (m MeterMod) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = be.AppendUint16(b, uint16(m.Command))
	b = be.AppendUint32(be.AppendUint16(b, m.flags()), m.ID)
	return m.appendBand(b), nil
}

func (c MeterConfig) flags() uint16 {
	if c.Rate == 0 {
		return 0
	}
	return meterPackets | meterBurst | meterStats
}

func (c MeterConfig) appendBand(b []byte) []byte {
	if c.Rate == 0 {
		return b
	}
	b = be.AppendUint32(append(b, 0, bandDrop, 0, 16), c.Rate)
	return append(be.AppendUint32(b, c.Burst), 0, 0, 0, 0)
}

func parseMeterMod(r *reader, _ Header) (Message, error) {
	m := MeterMod{Command: MeterCommand(r.u16())}
	flags := r.u16()
	m.ID = r.u32()
	return m, m.parseBand(r, flags)
}

func (c *MeterConfig) parseBand(r *reader, flags uint16) error {
	for r.more() {
		kind, n := r.u16(), r.u16()
		if r.err == nil && (kind != bandDrop || n != 16 || c.Rate != 0) {
			return fmt.Errorf("meter %d: band of type %d: %w", c.ID, kind, ErrUnknown)
		}
		c.Rate, c.Burst = r.u32(), r.u32()
		r.skip(4)
	}
	if r.err == nil && flags != c.flags() {
		return fmt.Errorf("meter %d: flags %#x: %w", c.ID, flags, ErrUnknown)
	}
	return nil
}

// MeterRequest asks for the configuration of a meter.
type MeterRequest struct {
	// Meter is one, or AllMeters.
	Meter uint32
}

// Type implements Message.
func (MeterRequest) Type() Type { return TypeMultipartRequest }

func (m MeterRequest) appendBody(b []byte, _ uint32) ([]byte, error) {
	return append(be.AppendUint32(appendPart(b, partMeterConfig, false), m.Meter), 0, 0, 0, 0), nil
}

// MeterReply is an answer to a MeterRequest, or a part of it.
type MeterReply struct {
	Meters []MeterConfig
	More   bool
}

// Type implements Message.
func (*MeterReply) Type() Type { return TypeMultipartReply }

func (m *MeterReply) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = appendPart(b, partMeterConfig, m.More)
	for _, c := range m.Meters {
		n := len(b)
		b = be.AppendUint32(be.AppendUint16(append(b, 0, 0), c.flags()), c.ID)
		b = c.appendBand(b)
		putLen(b, n, n)
	}
	return b, nil
}

func parseMeterReply(r *reader, more bool) (Message, error) {
	m := &MeterReply{More: more}
	for r.more() {
		s := r.entry()
		s.skip(2)
		flags := s.u16()
		c := MeterConfig{ID: s.u32()}
		err := c.parseBand(s, flags)
		r.join(s)
		if err != nil {
			return nil, err
		}
		m.Meters = append(m.Meters, c)
	}
	return m, nil
}
