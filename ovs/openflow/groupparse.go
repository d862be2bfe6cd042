package openflow

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseGroup reads a group in the syntax of ovs-ofctl(8), such as a line of
// `ovs-ofctl dump-groups`.
func ParseGroup(s string) (*Group, error) {
	if err := checkText(s); err != nil {
		return nil, fmt.Errorf("group %q: %w", s, err)
	}
	head, rest := cutBucket(strings.TrimSpace(s))
	g := &Group{}
	hasID := false
	for _, tok := range splitList(head) {
		name, value, _ := strings.Cut(tok, "=")
		if fn, args, ok := call(tok); ok && fn == "fields" {
			name, value = fn, args
		}
		var err error
		switch name {
		case "group_id":
			hasID = true
			g.ID, err = parseUint32(value)
		case "type":
			g.Type, err = parseGroupType(value)
		case "selection_method":
			g.Selection.Method = value
		case "selection_method_param":
			g.Selection.Param, err = strconv.ParseUint(value, 0, 64)
		case "fields":
			g.Selection.Fields = append(g.Selection.Fields, splitList(value)...)
		default:
			err = fmt.Errorf("not a field of a group")
		}
		if err != nil {
			return nil, fmt.Errorf("group %q: field %s: %w", s, name, err)
		}
	}
	if !hasID || g.Type == "" {
		return nil, fmt.Errorf("group %q: no group_id or no type", s)
	}
	for rest != "" {
		var text string
		text, rest = cutBucket(rest)
		k, err := parseBucket(text, g.Type)
		if err != nil {
			return nil, fmt.Errorf("group %q: bucket %d: %w", s, len(g.Buckets), err)
		}
		g.Buckets = append(g.Buckets, k)
	}
	return g, nil
}

// cutBucket splits a group before its next bucket. A group's own fields and the
// actions of a bucket have no other place for ",bucket=".
func cutBucket(s string) (head, rest string) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ',':
			for _, sep := range []string{"bucket=", "buckets="} {
				if rest, ok := strings.CutPrefix(s[i+1:], sep); ok && depth <= 0 {
					return s[:i], rest
				}
			}
		}
	}
	return s, ""
}

func parseBucket(s string, t GroupType) (Bucket, error) {
	var k Bucket
	if t == Select {
		k.Weight = 1 // what ovs-ofctl takes, and leaves out of dumps
	}
	for s != "" {
		var tok string
		whole := s
		tok, s = nextToken(s, false)
		if tok = strings.TrimSpace(tok); tok == "" {
			continue
		}
		name, value := tok, ""
		if i := strings.IndexAny(tok, ":="); i >= 0 {
			name, value = tok[:i], tok[i+1:]
		}
		var err error
		switch name {
		case "bucket_id":
			k.ID, err = parseUint32(value)
		case "weight":
			var n uint64
			n, err = strconv.ParseUint(value, 0, 16)
			k.Weight = uint16(n)
		case "watch_port":
			v, _, ok := fields["in_port"].parse(value)
			if k.WatchPort = uint32(v.lo); !ok {
				err = fmt.Errorf("bad port %q", value)
			}
		case "watch_group":
			k.WatchGroup, err = parseUint32(value)
		default:
			// What is no field of a bucket begins its actions, which go on to its end.
			actions := strings.TrimSpace(whole)
			if name == "actions" {
				actions = actions[min(len(name)+1, len(actions)):]
			}
			for _, a := range splitList(actions) {
				k.Actions = append(k.Actions, RawAction(a))
			}
			return k, nil
		}
		if err != nil {
			return k, fmt.Errorf("field %s: %w", name, err)
		}
	}
	return k, nil
}

func parseGroupType(s string) (GroupType, error) {
	switch t := GroupType(s); t {
	case All, Select, Indirect, FastFailover:
		return t, nil
	case "fast_failover":
		return FastFailover, nil
	}
	return "", fmt.Errorf("%q is not a type of group", s)
}

func parseUint32(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	return uint32(n), err
}
