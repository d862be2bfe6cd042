package render

import (
	"fmt"
	"io"

	"github.com/sluice-cni/sluice/pkg/simulate"
)

// Outcomes lays out the expectations that do not hold, and of all how many do;
// if the style is wide, the others too.
func Outcomes(w io.Writer, s Style, outcomes []simulate.Outcome) error {
	t := table{style: s}
	t.header("FROM", "TO", "SERVICE", "FAMILY", "EXPECTED", "SEEN", "REASON")
	held := 0
	for _, o := range outcomes {
		if o.Holds {
			held++
		}
		expected := verdict(o.Allow, o.Wanted())
		if o.Problem != "" {
			t.cells(cell{text: o.From}, cell{text: o.To}, cell{text: o.Service.String()}, cell{text: "-"}, expected, cell{"-", Red}, cell{text: o.Problem})
		}
		for _, c := range o.Seen {
			if c.Allowed() == o.Allow && !s.Wide {
				continue
			}
			t.cells(cell{text: o.From}, cell{text: o.To}, cell{text: o.Service.String()}, cell{text: fmt.Sprintf("IPv%d", c.Family)},
				expected, verdict(c.Allowed(), c.Verdict), cell{text: c.Reason})
		}
	}
	if len(t.rows) > 1 {
		if err := t.write(w, ""); err != nil {
			return err
		}
	}
	color := Green
	if held < len(outcomes) {
		color = Red
	}
	_, err := fmt.Fprintln(w, s.paint(color, fmt.Sprintf("%d of %d expectations hold", held, len(outcomes))))
	return err
}

// Changes lays out what has changed from one matrix to the next.
func Changes(w io.Writer, s Style, changes []simulate.Change) error {
	t := table{style: s}
	for _, c := range changes {
		before, now := cell{"-", Dim}, verdict(c.Allowed(), c.Verdict)
		if c.Before != "" {
			before = cell{c.Before, Dim}
		}
		reason := c.Reason
		if c.Gone {
			now, reason = cell{"-", Dim}, "gone"
		}
		t.cells(cell{text: c.From}, cell{text: c.To}, cell{text: c.Service.String()}, cell{text: fmt.Sprintf("IPv%d", c.Family)},
			before, cell{"->", Dim}, now, cell{text: reason})
	}
	return t.write(w, "  ")
}
