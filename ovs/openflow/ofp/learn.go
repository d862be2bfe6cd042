package ofp

import "fmt"

// Learn adds a flow to a table, or changes the one there with the same match
// and priority, when a packet gets to it (ovs-actions(7), NXAST_LEARN).
type Learn struct {
	// Table is where the flow is added, IdleTimeout and the others are those of that
	// flow, in seconds.
	Table                          uint8
	Priority                       uint16
	Cookie                         uint64
	IdleTimeout, HardTimeout       uint16
	FinIdleTimeout, FinHardTimeout uint16
	// SendFlowRem says that the controller is told when the flow goes, DeleteLearned
	// that the flow goes with the last that has such a Learn.
	SendFlowRem, DeleteLearned bool
	Specs                      []LearnSpec
}

// LearnSpec is something that a learned flow matches or does.
type LearnSpec struct {
	Kind LearnKind
	// Src are bits of the packet. Without a field Value stands in its place.
	Src   Subfield
	Value Value
	// Dst is what the flow matches or writes, of as many bits as Src. LearnOutput
	// has none.
	Dst Subfield
}

// LearnKind says what a LearnSpec is for.
type LearnKind uint8

// The kinds of LearnSpec.
const (
	LearnMatch LearnKind = iota
	LearnLoad
	LearnOutput
)

const (
	learnSendFlowRem = 1 << iota
	learnDeleteLearned
)

// A LearnSpec begins with 16 bits: the number of bits, the kind, and whether a
// value follows.
const (
	learnBits      = 0x3ff
	learnKind      = 11
	learnImmediate = 1 << 13
)

func (a Learn) append(b []byte) []byte {
	n := len(b)
	b = be.AppendUint16(extend(b, nxLearn), a.IdleTimeout)
	b = be.AppendUint16(be.AppendUint16(b, a.HardTimeout), a.Priority)
	b = be.AppendUint16(be.AppendUint64(b, a.Cookie), flags(a.SendFlowRem, a.DeleteLearned))
	b = be.AppendUint16(append(b, a.Table, 0), a.FinIdleTimeout)
	b = be.AppendUint16(b, a.FinHardTimeout)
	for i := range a.Specs {
		b = a.Specs[i].append(b)
	}
	return endExtension(b, n)
}

func (s *LearnSpec) append(b []byte) []byte {
	bits := s.Dst.Bits
	if s.Kind == LearnOutput {
		bits = s.Src.Bits
	}
	header := uint16(s.Kind)<<learnKind | uint16(bits)
	if s.Src.Field != nil {
		b = s.Src.appendStart(be.AppendUint16(b, header))
	} else {
		b = s.Value.append(be.AppendUint16(b, header|learnImmediate), learnedBytes(bits))
	}
	if s.Kind == LearnOutput {
		return b
	}
	return s.Dst.appendStart(b)
}

// appendStart appends field and first bit of a subfield.
func (s Subfield) appendStart(b []byte) []byte {
	return be.AppendUint16(s.appendSource(b), uint16(s.First))
}

// learnedBytes is what a value of so many bits takes: whole 16-bit words.
func learnedBytes(bits int) int { return 2 * ((bits + 15) / 16) }

func parseLearn(r *reader) (Action, error) {
	a := Learn{IdleTimeout: r.u16(), HardTimeout: r.u16(), Priority: r.u16(), Cookie: r.u64()}
	bits := r.u16()
	if bits&^(learnSendFlowRem|learnDeleteLearned) != 0 {
		return nil, fmt.Errorf("flags %#x of learn: %w", bits, ErrUnknown)
	}
	a.SendFlowRem, a.DeleteLearned = bits&learnSendFlowRem != 0, bits&learnDeleteLearned != 0
	a.Table = r.u8()
	r.skip(1)
	a.FinIdleTimeout, a.FinHardTimeout = r.u16(), r.u16()
	// The end is padded: a header of zero ends the list.
	for len(r.b) >= 2 {
		header := r.u16()
		if header == 0 {
			break
		}
		s, err := parseLearnSpec(r, header)
		if err != nil {
			return nil, err
		}
		a.Specs = append(a.Specs, s)
	}
	return a, nil
}

func parseLearnSpec(r *reader, header uint16) (LearnSpec, error) {
	s := LearnSpec{Kind: LearnKind(header >> learnKind & 3)}
	bits := int(header & learnBits)
	immediate := header&learnImmediate != 0
	if header>>14 != 0 || s.Kind > LearnOutput || immediate && s.Kind == LearnOutput {
		return s, fmt.Errorf("header %#x of what is learned: %w", header, ErrUnknown)
	}
	if bits == 0 || bits > 128 {
		return s, fmt.Errorf("%d bits of what is learned: %w", bits, ErrMalformed)
	}
	var err error
	if !immediate {
		s.Src, err = parseStart(r, bits)
	} else if b := r.take(learnedBytes(bits)); b != nil {
		s.Value = readValue(b)
		if !s.Value.fits(bits) {
			err = fmt.Errorf("value of more than %d bits: %w", bits, ErrMalformed)
		}
	}
	if err == nil && s.Kind != LearnOutput {
		s.Dst, err = parseStart(r, bits)
	}
	return s, err
}

// parseStart reads field and first bit of a subfield of so many bits.
func parseStart(r *reader, bits int) (Subfield, error) {
	f, err := parseField(r)
	if err != nil {
		return Subfield{}, err
	}
	s := Subfield{f, int(r.u16()), bits}
	return s, check(s)
}

// fits reports whether the value has no bit above the lowest ones.
func (v Value) fits(bits int) bool {
	if bits >= 64 {
		return bits >= 128 || v.Hi>>(bits-64) == 0
	}
	return v.Hi == 0 && v.Lo>>bits == 0
}
