package ofp

import "fmt"

// Reason is why a packet is sent to the controller (section 7.4.1).
type Reason uint8

// The reasons.
const (
	ReasonTableMiss Reason = iota
	ReasonApplyAction
	ReasonInvalidTTL
	ReasonActionSet
	ReasonGroup
	ReasonPacketOut
)

// Controller sends the packet to the controllers as a [PacketIn].
type Controller struct {
	// MaxLen is how many bytes of the packet are sent at most; 65535 means all.
	MaxLen uint16
	// ID is that of the controllers which get it; those of a management socket have
	// zero unless they set another.
	ID     uint16
	Reason Reason
	// UserData comes back in the packet-in.
	UserData []byte
	// Pause ends the processing until the controller resumes it.
	Pause bool
	// Meter limits the packets that are sent; NoMeter means none does.
	Meter uint32
}

// NoMeter, as the meter of a Controller, means that none limits it.
const NoMeter = 0

// The types of a Controller's properties.
const (
	ctlMaxLen = iota
	ctlID
	ctlReason
	ctlUserData
	ctlPause
	ctlMeter
)

// property appends a property with its value; the length does not count the
// padding.
func property(b []byte, kind uint16, value ...byte) []byte {
	start := len(b)
	b = be.AppendUint16(be.AppendUint16(b, kind), uint16(4+len(value)))
	return pad(append(b, value...), start)
}

func (a Controller) append(b []byte) []byte {
	n := len(b)
	b = append(extend(b, nxController), zeros[:6]...)
	if a.MaxLen != 65535 {
		b = property(b, ctlMaxLen, byte(a.MaxLen>>8), byte(a.MaxLen))
	}
	if a.ID != 0 {
		b = property(b, ctlID, byte(a.ID>>8), byte(a.ID))
	}
	if a.Reason != ReasonApplyAction {
		b = property(b, ctlReason, byte(a.Reason))
	}
	if len(a.UserData) > 0 {
		b = property(b, ctlUserData, a.UserData...)
	}
	if a.Pause {
		b = property(b, ctlPause)
	}
	if a.Meter != NoMeter {
		b = property(b, ctlMeter, be.AppendUint32(nil, a.Meter)...)
	}
	return endExtension(b, n)
}

func parseController(r *reader) (Action, error) {
	a := Controller{MaxLen: 65535, Reason: ReasonApplyAction}
	r.skip(6)
	for r.more() {
		kind, n := r.u16(), int(r.u16())
		s := r.property(n)
		switch kind {
		case ctlMaxLen:
			a.MaxLen = s.u16()
		case ctlID:
			a.ID = s.u16()
		case ctlReason:
			a.Reason = Reason(s.u8())
		case ctlUserData:
			a.UserData = s.rest()
		case ctlPause:
			a.Pause = true
		case ctlMeter:
			a.Meter = s.u32()
		default:
			return nil, fmt.Errorf("property %d of controller: %w", kind, ErrUnknown)
		}
		r.join(s)
	}
	return a, nil
}
