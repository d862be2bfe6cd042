package openflow

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// RawAction is an OpenFlow action, or a comma-separated list of them, in the
// syntax of ovs-actions(7). It is how dumped actions come, and the way to use
// an action go-openvswitch has no type for.
type RawAction string

var _ ovs.Action = RawAction("")

// MarshalText implements ovs.Action.
func (a RawAction) MarshalText() ([]byte, error) { return []byte(a), nil }

// GoString implements ovs.Action.
func (a RawAction) GoString() string { return fmt.Sprintf("openflow.RawAction(%q)", string(a)) }

// actionText returns an action as it would be written to the switch.
func actionText(a ovs.Action) (string, error) {
	if raw, ok := a.(RawAction); ok {
		return string(raw), nil
	}
	b, err := a.MarshalText()
	return string(b), err
}

// appendActions appends the canonical text of a list of actions, "drop" if it
// is empty. An action that can't be marshalled stands as its Go syntax.
func appendActions(b []byte, actions []ovs.Action) []byte {
	b, _ = appendCheckedActions(b, actions)
	return b
}

// appendCheckedActions is appendActions that says which action can't be
// marshalled.
func appendCheckedActions(b []byte, actions []ovs.Action) ([]byte, error) {
	start := len(b)
	conjunctions := 0
	count := 0
	var failed error
	for _, a := range actions {
		text, err := actionText(a)
		if err != nil {
			text = a.GoString()
			failed = fmt.Errorf("action %#v: %w", a, err)
		}
		for text != "" {
			var tok string
			tok, text = nextToken(text, false)
			if tok = strings.TrimSpace(tok); tok == "" || strings.EqualFold(tok, "drop") {
				continue
			}
			if len(b) > start {
				b = append(b, ',')
			}
			at := len(b)
			b = appendAction(b, tok)
			if count++; bytes.HasPrefix(b[at:], []byte("conjunction(")) {
				conjunctions++
			}
		}
	}
	if count == 0 {
		return append(b, "drop"...), failed
	}
	// Conjunctions are a set: their order means nothing.
	if conjunctions == count && count > 1 {
		list := splitList(string(b[start:]))
		slices.SortFunc(list, compareConjunctions)
		list = slices.Compact(list)
		return append(b[:start], strings.Join(list, ",")...), failed
	}
	return b, failed
}

// compareConjunctions orders by id, then by the rest.
func compareConjunctions(a, b string) int {
	return cmp.Or(len(conjunctionID(a))-len(conjunctionID(b)), strings.Compare(a, b))
}

func conjunctionID(s string) string {
	s, _, _ = strings.Cut(s, ",")
	return s
}

// normalizers rewrite an action with arguments, by its lower-case name. They
// append nothing and return false for arguments they can't read.
var normalizers map[string]func(b []byte, args string) ([]byte, bool)

// plain are the actions without arguments by their lower-case names, as dumps
// spell them.
var plain = map[string]string{
	"normal": "NORMAL", "flood": "FLOOD", "all": "ALL", "in_port": "IN_PORT", "local": "LOCAL",
	"controller": "CONTROLLER:65535", "ct": "ct()", "dec_ttl": "dec_ttl", "dec_ttl()": "dec_ttl",
	"strip_vlan": "pop_vlan", "pop_vlan": "pop_vlan", "ct_clear": "ct_clear", "exit": "exit",
	"clear_actions": "clear_actions", "pop_queue": "pop_queue", "decap": "decap()",
}

// They are filled in here because some of them normalize lists of actions.
func init() {
	normalizers = map[string]func([]byte, string) ([]byte, bool){
		"output":        appendOutput,
		"load":          appendLoad,
		"set_field":     appendSetField,
		"move":          appendMove,
		"mod_dl_src":    setter("eth_src"),
		"mod_dl_dst":    setter("eth_dst"),
		"mod_nw_src":    setter("ip_src"),
		"mod_nw_dst":    setter("ip_dst"),
		"set_tunnel":    setter("tun_id"),
		"set_tunnel64":  setter("tun_id"),
		"resubmit":      appendResubmit,
		"conjunction":   appendConjunction,
		"ct":            appendCT,
		"learn":         appendLearn,
		"note":          appendNote,
		"goto_table":    number("goto_table:"),
		"group":         number("group:"),
		"set_queue":     number("set_queue:"),
		"meter":         number("meter:"),
		"controller":    appendController,
		"clone":         nested("clone("),
		"write_actions": nested("write_actions("),
		"push":          subfielded("push:"),
		"pop":           subfielded("pop:"),
		"push_vlan":     lower("push_vlan:"),
	}
}

// appendAction appends the canonical text of one action.
func appendAction(b []byte, s string) []byte {
	s = stripSpace(s)
	key := s
	if hasUpper(s) {
		key = strings.ToLower(s)
	}
	if p, ok := plain[key]; ok {
		return append(b, p...)
	}
	i := strings.IndexAny(key, ":(")
	if i < 0 {
		if v, ok := parseInt(s); ok { // a bare port number
			return appendPort(append(b, "output:"...), v.lo)
		}
		return append(b, s...)
	}
	name := key[:i]
	// These two have a form with a colon and another with parentheses that mean
	// different things.
	if s[i] == '(' && (name == "output" || name == "controller") {
		return append(b, s...)
	}
	normalize := normalizers[name]
	args := s[i+1:]
	if s[i] == '(' {
		if args == "" || args[len(args)-1] != ')' {
			normalize = nil
			if name == "check_pkt_larger" {
				return appendCheckPktLarger(b, s)
			}
		} else {
			args = args[:len(args)-1]
		}
	}
	if normalize == nil {
		return append(b, s...)
	}
	mark := len(b)
	if b, ok := normalize(b, strings.TrimSpace(args)); ok {
		return b
	}
	return append(b[:mark], s...)
}

func hasUpper(s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			return true
		}
	}
	return false
}

// stripSpace drops white space but between two words, which without it would be
// one.
func stripSpace(s string) string {
	if !strings.ContainsAny(s, " \t") {
		return s
	}
	var b []byte
	for _, part := range strings.Fields(s) {
		if len(b) > 0 && isWord(b[len(b)-1]) && isWord(part[0]) {
			b = append(b, ' ')
		}
		b = append(b, part...)
	}
	return string(b)
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func appendOutput(b []byte, args string) ([]byte, bool) {
	if p, ok := plain[strings.ToLower(args)]; ok && args != "" {
		return append(b, p...), true
	}
	if v, ok := parseInt(args); ok {
		switch v.lo & 0xffff {
		case portLocal:
			return append(b, "LOCAL"...), true
		case portController:
			return append(b, "CONTROLLER:65535"...), true
		}
		return strconv.AppendUint(append(b, "output:"...), v.lo, 10), true
	}
	b, _, ok := appendSubfield(append(b, "output:"...), args)
	return b, ok
}

func appendController(b []byte, args string) ([]byte, bool) {
	n, ok := parseInt(args)
	return strconv.AppendUint(append(b, "CONTROLLER:"...), n.lo, 10), ok
}

func appendResubmit(b []byte, args string) ([]byte, bool) {
	inPort, table, hasTable := strings.Cut(args, ",")
	if strings.Contains(table, ",") {
		return b, false // resubmit(,table,ct)
	}
	inPort = strings.TrimSpace(inPort)
	if strings.EqualFold(inPort, "in_port") {
		inPort = ""
	}
	if !hasTable || strings.TrimSpace(table) == "" {
		v, ok := parseInt(inPort)
		return appendPort(append(b, "resubmit:"...), v.lo), ok
	}
	b = append(b, "resubmit("...)
	if inPort != "" {
		v, _, ok := fields["in_port"].parse(inPort)
		if !ok {
			return b, false
		}
		b = appendPort(b, v.lo)
	}
	v, ok := parseInt(strings.TrimSpace(table))
	b = strconv.AppendUint(append(b, ','), v.lo, 10)
	return append(b, ')'), ok
}

func appendConjunction(b []byte, args string) ([]byte, bool) {
	id, rest, ok1 := strings.Cut(args, ",")
	k, n, ok2 := strings.Cut(rest, "/")
	i, ok3 := parseInt(strings.TrimSpace(id))
	x, ok4 := parseInt(strings.TrimSpace(k))
	y, ok5 := parseInt(strings.TrimSpace(n))
	b = strconv.AppendUint(append(b, "conjunction("...), i.lo, 10)
	b = strconv.AppendUint(append(b, ','), x.lo, 10)
	b = strconv.AppendUint(append(b, '/'), y.lo, 10)
	return append(b, ')'), ok1 && ok2 && ok3 && ok4 && ok5
}

// appendNote pads a note with zeros as the switch does: a note action's length
// is a multiple of 8 bytes, 10 of which are its header.
func appendNote(b []byte, args string) ([]byte, bool) {
	n := 0
	if args != "" {
		n = strings.Count(args, ".") + 1
	}
	b = append(append(b, "note:"...), strings.ToLower(args)...)
	for ; n < 6 || (n+10)%8 != 0; n++ {
		if n > 0 {
			b = append(b, '.')
		}
		b = append(b, "00"...)
	}
	return b, true
}

func appendCheckPktLarger(b []byte, s string) []byte {
	head, dst, ok := strings.Cut(s, "->")
	mark := len(b)
	b = append(append(b, stripSpace(strings.ToLower(head))...), "->"...)
	if b, _, ok2 := appendSubfield(b, dst); ok && ok2 {
		return b
	}
	return append(b[:mark], s...)
}

// number normalizes an action whose one argument is a number.
func number(prefix string) func([]byte, string) ([]byte, bool) {
	return func(b []byte, args string) ([]byte, bool) {
		v, ok := parseInt(args)
		return strconv.AppendUint(append(b, prefix...), v.lo, 10), ok
	}
}

func lower(prefix string) func([]byte, string) ([]byte, bool) {
	return func(b []byte, args string) ([]byte, bool) {
		return append(append(b, prefix...), strings.ToLower(args)...), true
	}
}

// nested normalizes an action whose argument is a list of actions.
func nested(prefix string) func([]byte, string) ([]byte, bool) {
	return func(b []byte, args string) ([]byte, bool) {
		b = appendActions(append(b, prefix...), []ovs.Action{RawAction(args)})
		return append(b, ')'), true
	}
}

func subfielded(prefix string) func([]byte, string) ([]byte, bool) {
	return func(b []byte, args string) ([]byte, bool) {
		b, _, ok := appendSubfield(append(b, prefix...), args)
		return b, ok
	}
}
