package ofp

import "fmt"

// The subtypes of Open vSwitch's own messages.
const (
	extSetPacketInFormat = 16
	extPacketIn2         = 30
)

// SetPacketInFormat chooses the form of the packet-ins of a connection.
type SetPacketInFormat struct{ Format uint32 }

// PacketInWithUserData is the form of packet-ins that has user data.
const PacketInWithUserData = 2

// Type implements Message.
func (SetPacketInFormat) Type() Type { return TypeExperimenter }

func (m SetPacketInFormat) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = be.AppendUint32(be.AppendUint32(b, nicira), extSetPacketInFormat)
	return be.AppendUint32(b, m.Format), nil
}

func parseExperimenter(r *reader, _ Header) (Message, error) {
	id, subtype := r.u32(), r.u32()
	if r.err != nil {
		return nil, r.err
	}
	if id == nicira {
		switch subtype {
		case extSetPacketInFormat:
			return SetPacketInFormat{r.u32()}, nil
		case extPacketIn2:
			return parsePacketIn2(r)
		}
	}
	return nil, fmt.Errorf("message %d of experimenter %#x: %w", subtype, id, ErrUnknown)
}
