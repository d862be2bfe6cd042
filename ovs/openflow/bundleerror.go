package openflow

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// BundleError says which change of a transaction was refused, and why. Nothing
// of the transaction has been done then.
type BundleError struct {
	// Flow is the change as it was sent: "flow add cookie=…", "group …". It is
	// empty if the change is not known.
	Flow string
	// Index is the change's place in the transaction, counted in the order in
	// which the changes are made; -1 if it is not known.
	Index int
	// Reason is why, in the words of ovs-ofctl or of the OpenFlow specification
	// ("OFPFMFC_TABLE_FULL").
	Reason string
	// Offender is the flow of the change; nil if that is a group's.
	Offender *ovs.Flow
}

// maxShown bounds how much of a change an error message shows.
const maxShown = 400

// Error implements error.
func (e *BundleError) Error() string {
	if e.Index < 0 {
		return "bundle refused: " + e.Reason
	}
	shown := e.Flow
	if len(shown) > maxShown {
		shown = shown[:maxShown] + "…"
	}
	return fmt.Sprintf("bundle refused at change %d (%s): %s", e.Index, shown, e.Reason)
}

// String describes a change that could not be rendered.
func (c change) String() string {
	switch {
	case c.flow != nil:
		return c.command + Text(c.flow)
	case c.command == setGroup:
		return c.command + c.group.String()
	default:
		return c.command + c.args
	}
}

// firstXID is the transaction id that ovs-ofctl 3.1 gives the first message of a
// bundle; the others follow on.
const firstXID = 2

// findRefusal finds in ovs-ofctl's messages which change of a bundle was
// refused. It returns nil if they are about something else, such as a lost
// connection.
func findRefusal(stderr string, r *bundle, t *Transaction) *BundleError {
	for s := stderr; s != ""; {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		if n, reason, ok := parseInputError(line); ok {
			return r.refusal(n-1, reason, t)
		}
		if i, reason, ok := parseSwitchError(line, s); ok {
			return r.refusal(r.confirm(i, line+"\n"+s), reason, t)
		}
	}
	return nil
}

func (r *bundle) refusal(i int, reason string, t *Transaction) *BundleError {
	e := &BundleError{Index: -1, Reason: reason}
	if i >= 0 && i < len(r.start) {
		e.Index, e.Flow, e.Offender = i, r.line(i), t.change(i).flow
	}
	return e
}

// parseInputError reads "ovs-ofctl: -:3: unknown keyword foo": line 3 of the
// input could not be read.
func parseInputError(line string) (n int, reason string, ok bool) {
	rest, ok := strings.CutPrefix(line, "ovs-ofctl: -:")
	if !ok {
		return 0, "", false
	}
	number, reason, ok := strings.Cut(rest, ": ")
	n, err := strconv.Atoi(number)
	return n, reason, ok && err == nil && n > 0
}

// parseSwitchError reads the report of an OpenFlow error message:
//
//	Error OFPFMFC_TABLE_FULL for: OFPT_FLOW_MOD (OF1.5) (xid=0x4): ADD priority=3 …
//	Error OFPBMC_BAD_LEN for: (***only uses 48 bytes out of 65584***)
//	00000000  06 0e 00 30 00 00 00 03-…
//
// after is what follows the line. The transaction id says which message of the
// bundle it is about.
func parseSwitchError(line, after string) (index int, reason string, ok bool) {
	rest, ok := strings.CutPrefix(line, "Error ")
	if !ok {
		return 0, "", false
	}
	reason, about, ok := strings.Cut(rest, " for: ")
	if !ok {
		return 0, "", false
	}
	if strings.HasPrefix(about, "OFPT_BUNDLE_CONTROL") {
		// About the bundle as a whole: it follows the error that is the cause.
		return -1, reason, true
	}
	report := about + "\n" + after
	if i := strings.Index(report, "\nError "); i >= 0 {
		report = report[:i]
	}
	if xid, ok := findXID(report); ok {
		return xid - firstXID, reason, true
	}
	return -1, reason, true
}

// findXID finds the transaction id of a message that is shown as text, or in
// hexadecimal where it could not be decoded.
func findXID(report string) (int, bool) {
	if _, x, ok := strings.Cut(report, "(xid=0x"); ok {
		x, _, _ = strings.Cut(x, ")")
		xid, err := strconv.ParseUint(x, 16, 32)
		return int(xid), err == nil
	}
	const header = "06 0e 00 30 00 00 00 03" // version, type, length, id
	_, dump, ok := strings.Cut(report, "\n00000000  ")
	if !ok || len(dump) < len(header) {
		return 0, false
	}
	xid, err := strconv.ParseUint(strings.ReplaceAll(dump[len("06 0e 00 30 "):len(header)], " ", ""), 16, 32)
	return int(xid), err == nil
}

// confirm checks the change that a transaction id points at against what the
// report says of it. Of a change that does not fit it returns -1: a wrong name
// would be worse than none.
func (r *bundle) confirm(i int, report string) int {
	if i < 0 || i >= len(r.start) {
		return -1
	}
	line := r.line(i)
	isGroup := strings.HasPrefix(line, "group ")
	reportGroup := strings.Contains(report, "OFPT_GROUP_MOD")
	reportFlow := strings.Contains(report, "OFPT_FLOW_MOD")
	if isGroup && reportFlow || !isGroup && reportGroup {
		return -1
	}
	if p, ok := after(report, " priority="); ok && !isGroup {
		if q, ok := after(line, ",priority="); ok && p != q {
			return -1
		}
	}
	return i
}

// after returns the digits that follow a key on the first line of s.
func after(s, key string) (string, bool) {
	s, _, _ = strings.Cut(s, "\n")
	_, s, ok := strings.Cut(s, key)
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		s = s[:i]
	}
	return s, ok
}
