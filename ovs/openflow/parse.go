package openflow

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// defaultPriority is the priority of a flow that says none.
const defaultPriority = 32768

// ParseFlow reads a flow in the syntax of ovs-ofctl(8), such as a line of
// `ovs-ofctl dump-flows`. Nothing of it is lost: match fields and flags that
// ovs.Flow has no place for become ovs.FieldMatch and bare matches, actions
// become one [RawAction] each. Durations and ages are dropped; counters go to
// Stats.
func ParseFlow(s string) (*ovs.Flow, error) {
	f := &ovs.Flow{Priority: defaultPriority}
	head, actions, found := cutActions(s)
	if !found {
		return nil, fmt.Errorf("flow %q: no actions", s)
	}
	for _, part := range []string{head, actions} {
		if err := checkText(part); err != nil {
			return nil, fmt.Errorf("flow %q: %w", s, err)
		}
	}
	if n := strings.Count(head, ","); n > 0 {
		f.Matches = make([]ovs.Match, 0, n)
	}
	for head != "" {
		var tok string
		tok, head = nextToken(head, true)
		if tok == "" {
			continue
		}
		if err := addToken(f, tok); err != nil {
			return nil, fmt.Errorf("flow %q: %w", s, err)
		}
	}
	for actions != "" {
		var tok string
		tok, actions = nextToken(actions, false)
		if tok = strings.TrimSpace(tok); tok != "" {
			f.Actions = append(f.Actions, RawAction(tok))
		}
	}
	if len(f.Actions) == 0 {
		f.Actions = append(f.Actions, RawAction("drop"))
	}
	return f, nil
}

// cutActions splits a flow before "actions=", which nothing before it contains.
func cutActions(s string) (head, actions string, found bool) {
	const sep = "actions="
	for from := 0; ; {
		i := strings.Index(s[from:], sep)
		if i < 0 {
			return s, "", false
		}
		if i += from; i == 0 || s[i-1] == ',' || s[i-1] == ' ' || s[i-1] == '\t' {
			return s[:i], strings.TrimSpace(s[i+len(sep):]), true
		}
		from = i + len(sep)
	}
}

// addToken adds one element of a flow's head.
func addToken(f *ovs.Flow, tok string) error {
	name, value, hasValue := strings.Cut(tok, "=")
	if !hasValue {
		if _, ok := keywords[name]; ok && f.Protocol == "" {
			f.Protocol = ovs.Protocol(name)
			return nil
		}
		if !wellFormed(name) {
			return fmt.Errorf("bad field %q", tok)
		}
		f.Matches = append(f.Matches, bare(name))
		return nil
	}
	if value == "" {
		return fmt.Errorf("field %s has no value", name)
	}
	var err error
	switch name {
	case "priority":
		var n uint64
		n, err = strconv.ParseUint(value, 0, 16)
		f.Priority = int(n)
	case "cookie":
		f.Cookie, err = strconv.ParseUint(value, 0, 64)
	case "table":
		var n uint64
		n, err = strconv.ParseUint(value, 0, 8)
		f.Table = int(n)
	case "idle_timeout":
		var n uint64
		n, err = strconv.ParseUint(value, 0, 16)
		f.IdleTimeout = int(n)
	case "n_packets":
		f.Stats.PacketCount, err = strconv.ParseUint(value, 10, 64)
	case "n_bytes":
		f.Stats.ByteCount, err = strconv.ParseUint(value, 10, 64)
	case "duration", "idle_age", "hard_age":
	case "in_port":
		if value == "LOCAL" {
			f.InPort = ovs.PortLOCAL
			return nil
		}
		n, err := strconv.ParseUint(value, 10, 16)
		if err == nil && n > 0 && f.InPort == 0 {
			f.InPort = int(n)
			return nil
		}
		f.Matches = append(f.Matches, ovs.FieldMatch(name, value))
	default:
		if !wellFormed(name) {
			return fmt.Errorf("bad field %q", tok)
		}
		f.Matches = append(f.Matches, ovs.FieldMatch(name, value))
	}
	if err != nil {
		return fmt.Errorf("field %s: %w", name, err)
	}
	return nil
}

// wellFormed reports whether s can be the name of a field.
func wellFormed(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != "" && (s[0] > '9' || s[0] < '0')
}

// bare is a match without a value: a second keyword, or a flag such as
// send_flow_rem.
type bare string

var _ ovs.Match = bare("")

// MarshalText implements ovs.Match.
func (m bare) MarshalText() ([]byte, error) { return []byte(m), nil }

// GoString implements ovs.Match.
func (m bare) GoString() string { return fmt.Sprintf("openflow.bare(%q)", string(m)) }
