package main

import (
	"fmt"
	"unicode/utf8"

	"github.com/sluice-cni/sluice/examples"
)

// result is an expectation and what was seen, over each family tried.
type result struct {
	examples.Expectation
	seen []outcome
}

// holds reports whether all that was seen was expected.
func (r result) holds() bool {
	for _, o := range r.seen {
		if !r.met(o) {
			return false
		}
	}
	return len(r.seen) > 0
}

func (r result) met(o outcome) bool { return o.failed == nil && o.allowed == r.Allow }

// cell is a text in the grid.
type cell struct{ text, color string }

func (c cell) width() int { return utf8.RuneCountInString(c.text) }

// cell shows a result: one mark if what was seen is what was expected, else what
// was expected and after it what was seen, over which family if it is not the
// same over all.
func (s style) cell(r result) cell {
	if r.holds() {
		if r.Allow {
			return cell{s.mark(true), green}
		}
		return cell{s.mark(false), plain}
	}
	saw := func(o outcome) string {
		if o.failed != nil {
			return "?"
		}
		return s.mark(o.allowed)
	}
	text, same := "", true
	for _, o := range r.seen {
		if !r.met(o) {
			text += fmt.Sprintf("%d:%s", o.family, saw(o))
		}
		same = same && saw(o) == saw(r.seen[0])
	}
	if same && len(r.seen) > 0 {
		text = saw(r.seen[0])
	}
	return cell{s.mark(r.Allow) + "!" + text, red}
}

// mismatches says, one a line, what was seen and not expected.
func mismatches(results []result) (lines []string) {
	for _, r := range results {
		want := verdict(r.Allow)
		for _, o := range r.seen {
			if r.met(o) {
				continue
			}
			saw := verdict(o.allowed)
			if o.failed != nil {
				saw = o.failed.Error()
			}
			line := fmt.Sprintf("%s -> %s %s over IPv%d: expected %s, seen: %s", r.From, r.To, serviceOf(r.Expectation), o.family, want, saw)
			if r.Because != "" {
				line += " (expected because: " + r.Because + ")"
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func verdict(allowed bool) string {
	if allowed {
		return "allow"
	}
	return "deny"
}

// join puts the outcomes of probes beside the expectations they are for.
func join(list []examples.Expectation, probes []probe, outcomes []outcome) []result {
	out := make([]result, len(list))
	for i, x := range list {
		out[i].Expectation = x
	}
	for i, p := range probes {
		out[p.row].seen = append(out[p.row].seen, outcomes[i])
	}
	return out
}
