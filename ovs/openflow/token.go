package openflow

import (
	"fmt"
	"strings"
)

// nextToken cuts the first token off s. Tokens end at a comma outside of any
// parentheses, or with spaces at white space there too; the separator is
// dropped.
func nextToken(s string, spaces bool) (token, rest string) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ',':
			if depth <= 0 {
				return s[:i], s[i+1:]
			}
		case ' ', '\t':
			if spaces && depth <= 0 {
				return s[:i], s[i+1:]
			}
		}
	}
	return s, ""
}

// splitList splits a list at its top-level commas, trimmed and without empty
// elements.
func splitList(s string) []string {
	var list []string
	for s != "" {
		var tok string
		tok, s = nextToken(s, false)
		if tok = strings.TrimSpace(tok); tok != "" {
			list = append(list, tok)
		}
	}
	return list
}

// call takes "name(args)" apart; ok is false for anything else.
func call(s string) (name, args string, ok bool) {
	i := strings.IndexByte(s, '(')
	if i < 0 || s[len(s)-1] != ')' {
		return s, "", false
	}
	return s[:i], s[i+1 : len(s)-1], true
}

// checkText refuses text that no dump has: what is not printable ASCII, and
// brackets that don't pair up.
func checkText(s string) error {
	var open []byte
	for i := range len(s) {
		c := s[i]
		switch c {
		case '(':
			open = append(open, ')')
		case '[':
			open = append(open, ']')
		case '{':
			open = append(open, '}')
		case ')', ']', '}':
			if len(open) == 0 || open[len(open)-1] != c {
				return fmt.Errorf("unpaired %q", c)
			}
			open = open[:len(open)-1]
		default:
			if (c < ' ' || c > '~') && c != '\t' {
				return fmt.Errorf("character %q is not allowed", c)
			}
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("missing %q", open[len(open)-1])
	}
	return nil
}
