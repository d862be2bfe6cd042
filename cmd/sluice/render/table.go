package render

import (
	"io"
	"strings"
	"unicode/utf8"
)

// gap is between two columns.
const gap = "  "

// cell is a text in a table.
type cell struct {
	text  string
	color Color
}

// table is laid out in columns as wide as their widest cell. (A tabwriter would
// count escape sequences as text.)
type table struct {
	style Style
	rows  [][]cell
}

// header adds a row of column names.
func (t *table) header(names ...string) {
	row := make([]cell, len(names))
	for i, n := range names {
		row[i] = cell{n, Dim}
	}
	t.rows = append(t.rows, row)
}

// row adds a row without colours.
func (t *table) row(texts ...string) {
	row := make([]cell, len(texts))
	for i, text := range texts {
		row[i] = cell{text: text}
	}
	t.rows = append(t.rows, row)
}

// cells adds a row.
func (t *table) cells(row ...cell) { t.rows = append(t.rows, row) }

// write writes the table, each line after an indent.
func (t *table) write(w io.Writer, indent string) error {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var out strings.Builder
	for _, row := range t.rows {
		last := len(row) - 1
		for last >= 0 && row[last].text == "" {
			last-- // no blanks at the end of a line
		}
		out.WriteString(indent)
		for i, c := range row[:last+1] {
			out.WriteString(t.style.paint(c.color, c.text))
			if i < last {
				out.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)) + gap)
			}
		}
		out.WriteByte('\n')
	}
	_, err := io.WriteString(w, out.String())
	return err
}
