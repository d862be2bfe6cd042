package ofp

// TableRequest asks for the counters of all tables (section 7.3.5.6).
type TableRequest struct{}

// Type implements Message.
func (TableRequest) Type() Type { return TypeMultipartRequest }

func (TableRequest) appendBody(b []byte, _ uint32) ([]byte, error) {
	return appendPart(b, partTable, false), nil
}

// TableStats are the counters of a table.
type TableStats struct {
	Table uint8
	// Active is how many flows there are.
	Active uint32
	// Lookups is how many packets were looked up, as far as the switch counts them:
	// what the datapath's cache has answered is counted with a delay. Matched is how
	// many of them matched a flow.
	Lookups, Matched uint64
}

// TableReply is an answer to a TableRequest, or a part of it.
type TableReply struct {
	Tables []TableStats
	More   bool
}

// Type implements Message.
func (*TableReply) Type() Type { return TypeMultipartReply }

func (m *TableReply) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = appendPart(b, partTable, m.More)
	for _, t := range m.Tables {
		b = be.AppendUint32(append(b, t.Table, 0, 0, 0), t.Active)
		b = be.AppendUint64(be.AppendUint64(b, t.Lookups), t.Matched)
	}
	return b, nil
}

func parseTableReply(r *reader, more bool) (Message, error) {
	m := &TableReply{More: more}
	for r.more() {
		t := TableStats{Table: r.u8()}
		r.skip(3)
		t.Active, t.Lookups, t.Matched = r.u32(), r.u64(), r.u64()
		m.Tables = append(m.Tables, t)
	}
	return m, r.err
}
