package ofp

import "fmt"

// Error is an error message. It is a Go error too.
type Error struct {
	// ErrType and Code say what went wrong (section 7.5.4); String names them.
	ErrType, Code uint16
	// Experimenter is whose error it is if ErrType is that of experimenters; Code
	// is then the experimenter's.
	Experimenter uint32
	// Data is the message that failed, or the beginning of it. For a failed hello
	// it is text.
	Data []byte
}

// errExperimenter is the type of errors that experimenters define.
const errExperimenter = 0xffff

// Type implements Message.
func (*Error) Type() Type { return TypeError }

// Error implements error.
func (m *Error) Error() string {
	h, err := ParseHeader(m.Data)
	if m.ErrType == 0 || err != nil {
		return m.String()
	}
	return fmt.Sprintf("%s for message type %d (xid=%#x)", m.String(), h.Type, h.XID)
}

// String names the error as the OpenFlow specification does, or Open vSwitch
// for its own: "OFPFMFC_TABLE_FULL".
func (m *Error) String() string {
	key := errorKey{0, m.ErrType, m.Code}
	if m.ErrType == errExperimenter {
		key = errorKey{m.Experimenter, m.Code, 0}
	}
	if s, ok := errorNames[key]; ok {
		return s
	}
	if m.ErrType == errExperimenter {
		return fmt.Sprintf("error %d of experimenter %#x", m.Code, m.Experimenter)
	}
	return fmt.Sprintf("error type %d code %d", m.ErrType, m.Code)
}

// Failed returns the message that failed, without the bundle it was in. Switches
// may cut it off; then only its header can be had.
func (m *Error) Failed() (Header, Message, error) {
	h, failed, err := Parse(m.Data)
	if add, ok := failed.(BundleAdd); ok {
		failed = add.Message
	}
	return h, failed, err
}

func (m *Error) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = be.AppendUint16(be.AppendUint16(b, m.ErrType), m.Code)
	if m.ErrType == errExperimenter {
		b = be.AppendUint32(b, m.Experimenter)
	}
	return append(b, m.Data...), nil
}

func parseError(r *reader, _ Header) (Message, error) {
	m := &Error{ErrType: r.u16(), Code: r.u16()}
	if m.ErrType == errExperimenter {
		m.Experimenter = r.u32()
	}
	m.Data = r.rest()
	return m, nil
}
