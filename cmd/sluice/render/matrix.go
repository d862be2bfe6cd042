package render

import (
	"fmt"
	"io"

	"github.com/sluice-cni/sluice/pkg/simulate"
)

// Matrix lays out a truth table: a row for each source and a column for each
// service of each destination; if the style is wide, a line for each connection
// with its reason.
func Matrix(w io.Writer, s Style, m *simulate.Matrix) error {
	if len(m.Cells) > 0 {
		var err error
		if s.Wide {
			err = Cells(w, s, m.Cells)
		} else {
			err = newGrid(s, m.Cells).write(w)
		}
		if err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d allowed, %d denied\n", m.Allowed, m.Denied)
	return err
}

// Cells lays out connections one a line.
func Cells(w io.Writer, s Style, cells []simulate.Cell) error {
	t := table{style: s}
	t.header("FROM", "TO", "SERVICE", "FAMILY", "VERDICT", "REASON")
	for _, c := range cells {
		t.cells(cell{text: c.From}, cell{text: c.To}, cell{text: c.Service.String()}, cell{text: fmt.Sprintf("IPv%d", c.Family)},
			verdict(c.Allowed(), c.Verdict), cell{text: c.Reason})
	}
	return t.write(w, "")
}

func verdict(allowed bool, text string) cell {
	if allowed {
		return cell{text, Green}
	}
	return cell{text, Red}
}

// short is the mark of a verdict in a grid.
func (s Style) short(allowed bool) string {
	switch {
	case s.Symbols && allowed:
		return "✓"
	case s.Symbols:
		return "✗"
	case allowed:
		return "allow"
	}
	return "deny"
}
