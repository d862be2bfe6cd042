package openflow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// reasons are the names of the reasons to send a packet to the controller.
var reasons = []string{"no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"}

// encodeController reads "reason=no_match,max_len=100,id=5,userdata=01.02,pause".
func encodeController(args string) (ofp.Action, error) {
	a := ofp.Controller{MaxLen: 65535, Reason: ofp.ReasonApplyAction}
	for arg := range strings.SplitSeq(args, ",") {
		name, value, _ := strings.Cut(arg, "=")
		var n uint64
		var err error
		switch name {
		case "reason":
			i := slices.Index(reasons, value)
			if i < 0 {
				err = errUnencodable
			}
			a.Reason = ofp.Reason(i)
		case "max_len":
			n, err = strconv.ParseUint(value, 0, 16)
			a.MaxLen = uint16(n)
		case "id":
			n, err = strconv.ParseUint(value, 0, 16)
			a.ID = uint16(n)
		case "userdata":
			a.UserData, err = parseOctets(value)
		case "pause":
			a.Pause = true
		case "meter_id":
			n, err = strconv.ParseUint(value, 0, 32)
			a.Meter = uint32(n)
		default:
			err = errUnencodable
		}
		if err != nil {
			return nil, errUnencodable
		}
	}
	if text, err := appendWireController(nil, a); err != nil || string(text) != "controller("+args+")" {
		return nil, errUnencodable // a spelling that is not settled here
	}
	return a, nil
}

// appendWireController appends the action as dumps show it.
func appendWireController(b []byte, a ofp.Controller) ([]byte, error) {
	if int(a.Reason) >= len(reasons) {
		return b, errUnencodable
	}
	var parts []string
	if a.Reason != ofp.ReasonApplyAction {
		parts = append(parts, "reason="+reasons[a.Reason])
	}
	if a.MaxLen != 65535 {
		parts = append(parts, fmt.Sprintf("max_len=%d", a.MaxLen))
	}
	if a.ID != 0 {
		parts = append(parts, fmt.Sprintf("id=%d", a.ID))
	}
	if len(a.UserData) > 0 {
		parts = append(parts, "userdata="+string(appendOctets(nil, a.UserData)))
	}
	if a.Pause {
		parts = append(parts, "pause")
	}
	if a.Meter != ofp.NoMeter {
		parts = append(parts, fmt.Sprintf("meter_id=%d", a.Meter))
	}
	return append(append(append(b, "controller("...), strings.Join(parts, ",")...), ')'), nil
}

// appendOctets appends "01.02.ff".
func appendOctets(b, octets []byte) []byte {
	const digits = "0123456789abcdef"
	for i, c := range octets {
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, digits[c>>4], digits[c&0xf])
	}
	return b
}
