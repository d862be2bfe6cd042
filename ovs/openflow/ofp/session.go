package ofp

// Hello opens a connection and says which versions the sender speaks (section
// 7.5.1).
type Hello struct {
	// Versions is a bitmap: bit 6 stands for OpenFlow 1.5. Zero if the sender gave
	// none; then the header's version is the highest it speaks, and it speaks
	// those below.
	Versions uint32
}

// helloVersionBitmap is the type of the one element of a hello there is.
const helloVersionBitmap = 1

// Type implements Message.
func (Hello) Type() Type { return TypeHello }

func (m Hello) appendBody(b []byte, _ uint32) ([]byte, error) {
	if m.Versions == 0 {
		return b, nil
	}
	return be.AppendUint32(append(b, 0, helloVersionBitmap, 0, 8), m.Versions), nil
}

func parseHello(r *reader, _ Header) (Message, error) {
	var m Hello
	for r.more() {
		kind, n := r.u16(), int(r.u16())
		e := r.property(n)
		if kind == helloVersionBitmap {
			m.Versions = e.u32()
		}
		r.join(e)
	}
	return m, nil
}

// Speaks reports whether the sender of a hello speaks OpenFlow 1.5.
func (m Hello) Speaks(h Header) bool {
	if m.Versions != 0 {
		return m.Versions>>Version&1 != 0
	}
	return h.Version >= Version
}

// EchoRequest asks whether the other end is alive.
type EchoRequest struct{ Data []byte }

// EchoReply is the answer, with the data of the request.
type EchoReply struct{ Data []byte }

// Type implements Message.
func (EchoRequest) Type() Type { return TypeEchoRequest }

// Type implements Message.
func (EchoReply) Type() Type { return TypeEchoReply }

func (m EchoRequest) appendBody(b []byte, _ uint32) ([]byte, error) { return append(b, m.Data...), nil }
func (m EchoReply) appendBody(b []byte, _ uint32) ([]byte, error)   { return append(b, m.Data...), nil }

func parseEchoRequest(r *reader, _ Header) (Message, error) { return EchoRequest{r.rest()}, nil }
func parseEchoReply(r *reader, _ Header) (Message, error)   { return EchoReply{r.rest()}, nil }

// FeaturesRequest asks a switch who it is.
type FeaturesRequest struct{}

// Features is the answer.
type Features struct {
	// DatapathID names the bridge; its lower 48 bits are an Ethernet address.
	DatapathID uint64
	// Buffers is how many packets the switch keeps for packet-ins; OVS keeps none.
	Buffers uint32
	// Tables is how many flow tables there are.
	Tables       uint8
	AuxiliaryID  uint8
	Capabilities uint32
}

// Type implements Message.
func (FeaturesRequest) Type() Type { return TypeFeaturesRequest }

// Type implements Message.
func (Features) Type() Type { return TypeFeaturesReply }

func (FeaturesRequest) appendBody(b []byte, _ uint32) ([]byte, error) { return b, nil }

func (m Features) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = be.AppendUint32(be.AppendUint64(b, m.DatapathID), m.Buffers)
	b = be.AppendUint32(append(b, m.Tables, m.AuxiliaryID, 0, 0), m.Capabilities)
	return append(b, 0, 0, 0, 0), nil
}

func parseFeatures(r *reader, _ Header) (Message, error) {
	m := Features{DatapathID: r.u64(), Buffers: r.u32(), Tables: r.u8(), AuxiliaryID: r.u8()}
	r.skip(2)
	m.Capabilities = r.u32()
	r.skip(4)
	return m, nil
}

// SetConfig configures a connection.
type SetConfig struct {
	Flags uint16
	// MissSendLen is how many bytes of a packet without a flow are sent to the
	// controller. On a bridge's management socket it is zero at first, which also
	// turns all asynchronous messages off.
	MissSendLen uint16
}

// Type implements Message.
func (SetConfig) Type() Type { return TypeSetConfig }

func (m SetConfig) appendBody(b []byte, _ uint32) ([]byte, error) {
	return be.AppendUint16(be.AppendUint16(b, m.Flags), m.MissSendLen), nil
}

func parseSetConfig(r *reader, _ Header) (Message, error) {
	return SetConfig{Flags: r.u16(), MissSendLen: r.u16()}, nil
}

// BarrierRequest is answered when all that was sent before it has been done.
type BarrierRequest struct{}

// BarrierReply is the answer.
type BarrierReply struct{}

// Type implements Message.
func (BarrierRequest) Type() Type { return TypeBarrierRequest }

// Type implements Message.
func (BarrierReply) Type() Type { return TypeBarrierReply }

func (BarrierRequest) appendBody(b []byte, _ uint32) ([]byte, error) { return b, nil }
func (BarrierReply) appendBody(b []byte, _ uint32) ([]byte, error)   { return b, nil }
