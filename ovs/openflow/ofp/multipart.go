package ofp

import "fmt"

// The types of multipart messages (section 7.3.5).
const (
	partFlowDesc    = 1
	partAggregate   = 2
	partTable       = 3
	partGroupDesc   = 7
	partMeterConfig = 10
)

// partMore is the flag of a reply that another one follows.
const partMore = 1

func parseMultipartRequest(r *reader, _ Header) (Message, error) {
	kind := r.u16()
	r.skip(6)
	switch kind {
	case partFlowDesc:
		return parseFlowRequest(r)
	case partAggregate:
		m, err := parseFlowRequest(r)
		return (*AggregateRequest)(m), err
	case partTable:
		return TableRequest{}, nil
	case partGroupDesc:
		m := GroupRequest{Group: r.u32()}
		r.skip(4)
		return m, nil
	case partMeterConfig:
		m := MeterRequest{Meter: r.u32()}
		r.skip(4)
		return m, nil
	}
	return nil, fmt.Errorf("multipart type %d: %w", kind, ErrUnknown)
}

// MoreParts reports whether a message is part of an answer that goes on.
func MoreParts(m Message) bool {
	switch m := m.(type) {
	case *FlowReply:
		return m.More
	case *TableReply:
		return m.More
	case *GroupReply:
		return m.More
	case *MeterReply:
		return m.More
	}
	return false
}

func parseMultipartReply(r *reader, _ Header) (Message, error) {
	kind, more := r.u16(), r.u16()&partMore != 0
	r.skip(4)
	switch kind {
	case partFlowDesc:
		return parseFlowReply(r, more)
	case partAggregate:
		return parseAggregateReply(r)
	case partTable:
		return parseTableReply(r, more)
	case partGroupDesc:
		return parseGroupReply(r, more)
	case partMeterConfig:
		return parseMeterReply(r, more)
	}
	return nil, fmt.Errorf("multipart type %d: %w", kind, ErrUnknown)
}

func appendPart(b []byte, kind byte, more bool) []byte {
	flags := byte(0)
	if more {
		flags = partMore
	}
	return append(b, 0, kind, 0, flags, 0, 0, 0, 0)
}
