package suite

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Section is the results of one set.
type Section struct {
	Set     Set
	Results []Result
	Took    time.Duration
}

// Count returns how many tests have ended in a state.
func (s Section) Count(state State) int {
	n := 0
	for _, r := range s.Results {
		if r.State == state {
			n++
		}
	}
	return n
}

// Summary is a line such as "netpol: 47 of 47 passed, 3 skipped, in 12m30s".
func (s Section) Summary() string {
	passed, skipped := s.Count(Passed), s.Count(Skipped)
	text := fmt.Sprintf("%s: %d of %d passed", s.Set.Name, passed, len(s.Results)-skipped)
	if skipped > 0 {
		text += fmt.Sprintf(", %d skipped", skipped)
	}
	if unreached := s.Count(Unreached); unreached > 0 {
		text += fmt.Sprintf(", %d not reached", unreached)
	}
	return fmt.Sprintf("%s, in %s", text, s.Took.Round(time.Second))
}

// WriteText writes a report for the terminal: what has not passed, each with its
// reason, and a summary.
func WriteText(w io.Writer, sections []Section) error {
	for _, s := range sections {
		for _, r := range s.Results {
			if r.State == Passed {
				continue
			}
			if _, err := fmt.Fprintf(w, "%s %s\n    %s\n", strings.ToUpper(string(r.State)), r.Test, r.Reason); err != nil {
				return err
			}
		}
	}
	for _, s := range sections {
		if _, err := fmt.Fprintln(w, s.Summary()); err != nil {
			return err
		}
	}
	return nil
}

// WriteList writes each test on a line.
func WriteList(w io.Writer, sections []Section) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range sections {
		for _, r := range s.Results {
			name := r.Test
			if r.Reason != "" {
				name += ": " + r.Reason
			}
			fmt.Fprintf(table, "%s\t%.1fs\t%s\n", r.State, r.Took.Seconds(), name)
		}
	}
	for _, s := range sections {
		fmt.Fprintf(table, "%s\n", s.Summary())
	}
	return table.Flush()
}

// WriteMarkdown writes a report of all tests as tables.
func WriteMarkdown(w io.Writer, title string, sections []Section) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", title)
	for _, s := range sections {
		fmt.Fprintf(&b, "- %s\n", s.Summary())
	}
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| test | result | time | reason |\n| --- | --- | --- | --- |\n", s.Set.Name)
		for _, r := range s.Results {
			took := ""
			if r.State == Passed || r.State == Failed {
				took = fmt.Sprintf("%.1f s", r.Took.Seconds())
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(r.Test), r.State, took, cell(r.Reason))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell makes a text fit for a cell of a Markdown table.
func cell(text string) string {
	const limit = 300 // the log has all of it
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return strings.NewReplacer("|", `\|`, "[", `\[`, "]", `\]`, "<", "&lt;", "\n", " ").Replace(text)
}
