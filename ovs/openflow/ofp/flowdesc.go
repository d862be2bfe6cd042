package ofp

import (
	"fmt"
	"time"
)

// FlowRequest asks for the flows with a match as narrow as its own, or
// narrower.
type FlowRequest struct {
	// Table is one, or AllTables.
	Table uint8
	// Cookie is that of the flows, of which the bits in CookieMask count.
	Cookie, CookieMask uint64
	Match              Match
}

// Type implements Message.
func (*FlowRequest) Type() Type { return TypeMultipartRequest }

func (m *FlowRequest) appendBody(b []byte, _ uint32) ([]byte, error) {
	return m.append(appendPart(b, partFlowDesc, false)), nil
}

func (m *FlowRequest) append(b []byte) []byte {
	b = append(b, m.Table, 0, 0, 0)
	b = be.AppendUint32(be.AppendUint32(b, PortAny), anyGroup)
	b = be.AppendUint64(be.AppendUint64(append(b, 0, 0, 0, 0), m.Cookie), m.CookieMask)
	return m.Match.append(b)
}

func parseFlowRequest(r *reader) (*FlowRequest, error) {
	m := &FlowRequest{Table: r.u8()}
	r.skip(15)
	m.Cookie, m.CookieMask = r.u64(), r.u64()
	var err error
	m.Match, err = parseMatch(r)
	return m, err
}

// FlowDesc is a flow as it stands in a switch.
type FlowDesc struct {
	Table                    uint8
	Priority                 uint16
	IdleTimeout, HardTimeout uint16 // seconds
	Flags, Importance        uint16
	Cookie                   uint64
	Match                    Match
	Stats                    FlowStats
	Instructions             Instructions
}

// FlowStats are a flow's counters. They are rounded as the switch counts them.
type FlowStats struct {
	// Duration is how long the flow has stood, Idle how long without a packet, in
	// whole seconds.
	Duration, Idle time.Duration
	Packets, Bytes uint64
}

// FlowReply is an answer to a FlowRequest, or a part of it.
type FlowReply struct {
	Flows []FlowDesc
	More  bool
}

// Type implements Message.
func (*FlowReply) Type() Type { return TypeMultipartReply }

func (m *FlowReply) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = appendPart(b, partFlowDesc, m.More)
	for i := range m.Flows {
		f := &m.Flows[i]
		n := len(b)
		b = append(b, 0, 0, 0, 0, f.Table, 0)
		for _, v := range []uint16{f.Priority, f.IdleTimeout, f.HardTimeout, f.Flags, f.Importance} {
			b = be.AppendUint16(b, v)
		}
		b = f.Match.append(be.AppendUint64(b, f.Cookie))
		b = f.Instructions.append(f.Stats.append(b))
		if len(b)-n > MaxLen {
			return b, fmt.Errorf("flow of %d bytes: %w", len(b)-n, ErrTooLong)
		}
		putLen(b, n, n)
	}
	return b, nil
}

func parseFlowReply(r *reader, more bool) (Message, error) {
	m := &FlowReply{More: more}
	for r.more() {
		s := r.entry()
		f := FlowDesc{}
		s.skip(4) // the length, and padding
		f.Table = s.u8()
		s.skip(1)
		f.Priority, f.IdleTimeout, f.HardTimeout = s.u16(), s.u16(), s.u16()
		f.Flags, f.Importance, f.Cookie = s.u16(), s.u16(), s.u64()
		var err error
		if f.Match, err = parseMatch(s); err == nil {
			if f.Stats, err = parseStats(s); err == nil {
				f.Instructions, err = parseInstructions(s)
			}
		}
		r.join(s)
		if err != nil {
			return nil, fmt.Errorf("flow of table %d: %w", f.Table, err)
		}
		m.Flows = append(m.Flows, f)
	}
	return m, nil
}

// oxsClass is the class of statistics (OXS) that OpenFlow defines.
const oxsClass = 0x8002

// The statistics, as OXS numbers them.
const (
	oxsDuration = 0
	oxsIdle     = 1
	oxsFlows    = 3
	oxsPackets  = 4
	oxsBytes    = 5
)

func (s *FlowStats) append(b []byte) []byte {
	n := len(b)
	b = append(b, 0, 0, 0, 0)
	seconds := func(number byte, d time.Duration) {
		b = append(be.AppendUint16(b, oxsClass), number<<1, 8)
		b = be.AppendUint32(be.AppendUint32(b, uint32(d/time.Second)), uint32(d%time.Second))
	}
	count := func(number byte, v uint64) {
		b = be.AppendUint64(append(be.AppendUint16(b, oxsClass), number<<1, 8), v)
	}
	seconds(oxsDuration, s.Duration)
	seconds(oxsIdle, s.Idle)
	count(oxsPackets, s.Packets)
	count(oxsBytes, s.Bytes)
	putLen(b, n+2, n)
	return pad(b, n)
}

func parseStats(r *reader) (FlowStats, error) {
	var st FlowStats
	err := eachStat(r, func(number uint8, v *reader) {
		switch number {
		case oxsDuration:
			st.Duration = duration(v)
		case oxsIdle:
			st.Idle = duration(v)
		case oxsPackets:
			st.Packets = v.u64()
		case oxsBytes:
			st.Bytes = v.u64()
		}
	})
	return st, err
}

// eachStat calls fn for each statistic of a list of them, with a reader of its
// value.
func eachStat(r *reader, fn func(number uint8, v *reader)) error {
	r.skip(2)
	s := r.property(int(r.u16()))
	for s.more() {
		class, number := s.u16(), s.u8()>>1
		v := s.sub(int(s.u8()))
		if class != oxsClass {
			continue
		}
		fn(number, v)
		s.join(v)
	}
	r.join(s)
	return r.err
}

func duration(r *reader) time.Duration {
	return time.Duration(r.u32())*time.Second + time.Duration(r.u32())
}
