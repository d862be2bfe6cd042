package ofp

import "fmt"

// Instructions are what a flow does (section 5.5). None drops the packet.
type Instructions struct {
	// Apply are actions that are done at once.
	Apply []Action
	// Clear empties the action set.
	Clear bool
	// Write are actions that are added to the action set; HasWrite tells an empty
	// list from none.
	Write    []Action
	HasWrite bool
	// Metadata replaces the bits of the metadata field that MetadataMask has.
	Metadata, MetadataMask uint64
	// Goto is the table to go on in; zero means none, as no flow can go back.
	Goto uint8
}

// The types of instructions.
const (
	insGoto     = 1
	insMetadata = 2
	insWrite    = 3
	insApply    = 4
	insClear    = 5
)

// append appends instructions in the order in which they are done.
func (x *Instructions) append(b []byte) []byte {
	if len(x.Apply) > 0 {
		b = appendListed(b, insApply, x.Apply)
	}
	if x.Clear {
		b = append(b, 0, insClear, 0, 8, 0, 0, 0, 0)
	}
	if x.HasWrite {
		b = appendListed(b, insWrite, x.Write)
	}
	if x.MetadataMask != 0 {
		b = append(b, 0, insMetadata, 0, 24, 0, 0, 0, 0)
		b = be.AppendUint64(be.AppendUint64(b, x.Metadata), x.MetadataMask)
	}
	if x.Goto != 0 {
		b = append(b, 0, insGoto, 0, 8, x.Goto, 0, 0, 0)
	}
	return b
}

func appendListed(b []byte, kind byte, actions []Action) []byte {
	n := len(b)
	b = appendActions(append(b, 0, kind, 0, 0, 0, 0, 0, 0), actions)
	putLen(b, n+2, n)
	return b
}

// parseInstructions reads instructions to the end.
func parseInstructions(r *reader) (Instructions, error) {
	var x Instructions
	for r.more() {
		kind, n := r.u16(), int(r.u16())
		s := r.sub(n - 4)
		var err error
		switch kind {
		case insApply:
			s.skip(4)
			x.Apply, err = parseActions(s, 0)
		case insClear:
			x.Clear = true
		case insWrite:
			s.skip(4)
			x.HasWrite = true
			x.Write, err = parseActions(s, 0)
		case insMetadata:
			s.skip(4)
			x.Metadata, x.MetadataMask = s.u64(), s.u64()
		case insGoto:
			x.Goto = s.u8()
		default:
			err = ErrUnknown
		}
		r.join(s)
		if err != nil {
			return x, fmt.Errorf("instruction type %d: %w", kind, err)
		}
	}
	return x, r.err
}
