package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// tally counts what was done and found.
type tally struct {
	examples, connections, probes, mismatches int
	took                                      time.Duration
}

func (t *tally) add(o tally) {
	t.examples += o.examples
	t.connections += o.connections
	t.probes += o.probes
	t.mismatches += o.mismatches
	t.took += o.took
}

// String returns the summary: "13 connections, 26 probes over IPv4 and IPv6, all as
// expected, 2.1 s".
func (t tally) String() string {
	found := "all as expected"
	switch {
	case t.mismatches == 1:
		found = "1 MISMATCH"
	case t.mismatches > 1:
		found = fmt.Sprintf("%d MISMATCHES", t.mismatches)
	}
	return fmt.Sprintf("%d connections, %d probes over IPv4 and IPv6, %s, %.1f s",
		t.connections, t.probes, found, t.took.Seconds())
}

// writeMatrix writes the matrix of an example with what its marks mean, and
// below it what was not as expected. It returns how many probes that is.
func writeMatrix(w io.Writer, s style, results []result) (int, error) {
	if err := newGrid(s, results).write(w); err != nil {
		return 0, err
	}
	found := mismatches(results)
	legend := fmt.Sprintf("%s allowed, %s denied: expected and seen", s.mark(true), s.mark(false))
	if !s.symbols {
		legend = "allow, deny: expected and seen"
	}
	legend += fmt.Sprintf("; %s not asked", s.unasked())
	if len(found) > 0 {
		legend += fmt.Sprintf("; %[1]s!%[2]s a mismatch: expected and seen; %[1]s!4:%[2]s over IPv4 only", s.mark(false), s.mark(true))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", s.paint(dim, legend))
	for _, line := range found {
		fmt.Fprintf(&out, "%s %s\n", s.paint(red, "MISMATCH"), line)
	}
	_, err := io.WriteString(w, out.String())
	return len(found), err
}
