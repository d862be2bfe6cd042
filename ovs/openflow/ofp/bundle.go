package ofp

import "fmt"

// BundleFlags are what is asked of a bundle.
type BundleFlags uint16

const (
	// BundleAtomic: all of it or nothing, and no packet sees a part.
	BundleAtomic BundleFlags = 1
	// BundleOrdered: the messages are done in the order they are added in.
	BundleOrdered BundleFlags = 2
)

// BundleCommand is what a BundleControl asks or answers. Each request has an
// even number, of which the answer's is one more.
type BundleCommand uint16

// The commands (section 7.3.9.1).
const (
	BundleOpen         BundleCommand = 0
	BundleOpenReply    BundleCommand = 1
	BundleClose        BundleCommand = 2
	BundleCloseReply   BundleCommand = 3
	BundleCommit       BundleCommand = 4
	BundleCommitReply  BundleCommand = 5
	BundleDiscard      BundleCommand = 6
	BundleDiscardReply BundleCommand = 7
)

// BundleControl opens a bundle, commits it or throws it away.
type BundleControl struct {
	// Bundle names the bundle on its connection.
	Bundle  uint32
	Command BundleCommand
	Flags   BundleFlags
}

// BundleAdd adds a message to a bundle. The message has the transaction id of
// the BundleAdd: by that the switch names it in an error.
type BundleAdd struct {
	Bundle uint32
	// Flags are the same as when the bundle was opened.
	Flags   BundleFlags
	Message Message
}

// Type implements Message.
func (BundleControl) Type() Type { return TypeBundleControl }

// Type implements Message.
func (BundleAdd) Type() Type { return TypeBundleAdd }

func (m BundleControl) appendBody(b []byte, _ uint32) ([]byte, error) {
	b = be.AppendUint16(be.AppendUint32(b, m.Bundle), uint16(m.Command))
	return be.AppendUint16(b, uint16(m.Flags)), nil
}

func parseBundleControl(r *reader, _ Header) (Message, error) {
	return BundleControl{Bundle: r.u32(), Command: BundleCommand(r.u16()), Flags: BundleFlags(r.u16())}, nil
}

func (m BundleAdd) appendBody(b []byte, xid uint32) ([]byte, error) {
	b = append(be.AppendUint32(b, m.Bundle), 0, 0)
	return Append(be.AppendUint16(b, uint16(m.Flags)), xid, m.Message)
}

func parseBundleAdd(r *reader, _ Header) (Message, error) {
	m := BundleAdd{Bundle: r.u32()}
	r.skip(2)
	m.Flags = BundleFlags(r.u16())
	if r.err != nil {
		return nil, r.err
	}
	h, err := ParseHeader(r.b)
	if err != nil {
		return nil, err
	}
	if h.Type == TypeBundleAdd {
		return nil, fmt.Errorf("bundle in a bundle: %w", ErrMalformed)
	}
	inner := r.take(int(h.Length))
	if r.err != nil {
		return nil, r.err
	}
	_, m.Message, err = Parse(inner)
	return m, err
}
