package ofp

// AggregateRequest asks for the sums of the counters of the flows that a
// FlowRequest would list (section 7.3.5.4).
type AggregateRequest FlowRequest

// Type implements Message.
func (*AggregateRequest) Type() Type { return TypeMultipartRequest }

func (m *AggregateRequest) appendBody(b []byte, _ uint32) ([]byte, error) {
	return (*FlowRequest)(m).append(appendPart(b, partAggregate, false)), nil
}

// AggregateReply is the answer to an AggregateRequest.
type AggregateReply struct {
	Packets, Bytes uint64
	// Flows is how many flows were summed.
	Flows uint32
}

// Type implements Message.
func (*AggregateReply) Type() Type { return TypeMultipartReply }

func (m *AggregateReply) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = appendPart(b, partAggregate, false)
	n := len(b)
	b = append(b, 0, 0, 0, 0)
	b = be.AppendUint64(append(be.AppendUint16(b, oxsClass), oxsPackets<<1, 8), m.Packets)
	b = be.AppendUint64(append(be.AppendUint16(b, oxsClass), oxsBytes<<1, 8), m.Bytes)
	b = be.AppendUint32(append(be.AppendUint16(b, oxsClass), oxsFlows<<1, 4), m.Flows)
	putLen(b, n+2, n)
	return pad(b, n), nil
}

func parseAggregateReply(r *reader) (Message, error) {
	m := &AggregateReply{}
	err := eachStat(r, func(number uint8, v *reader) {
		switch number {
		case oxsFlows:
			m.Flows = v.u32()
		case oxsPackets:
			m.Packets = v.u64()
		case oxsBytes:
			m.Bytes = v.u64()
		}
	})
	return m, err
}
