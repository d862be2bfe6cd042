package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluice-cni/sluice/pkg/simulate"
)

// column is a service of a destination in a grid.
type column struct {
	to      string
	service simulate.Service
}

// grid is a matrix with a column for each service, under the destination's name.
type grid struct {
	style   Style
	rows    []string
	columns [][]column // by destination
	cells   map[string]map[column][]simulate.Cell
}

func newGrid(s Style, cells []simulate.Cell) *grid {
	g := &grid{style: s, cells: map[string]map[column][]simulate.Cell{}}
	services := map[string][]column{}
	var destinations []string
	for _, c := range cells {
		if g.cells[c.From] == nil {
			g.cells[c.From] = map[column][]simulate.Cell{}
			g.rows = append(g.rows, c.From)
		}
		if services[c.To] == nil {
			destinations = append(destinations, c.To)
		}
		col := column{c.To, c.Service}
		if !slices.Contains(services[c.To], col) {
			services[c.To] = append(services[c.To], col)
		}
		g.cells[c.From][col] = append(g.cells[c.From][col], c)
	}
	// The first source has no cell for itself, so destinations are met out of
	// order: those that are sources too come in the order of the sources.
	for _, name := range slices.Concat(g.rows, destinations) {
		if services[name] != nil {
			g.columns = append(g.columns, services[name])
			delete(services, name)
		}
	}
	return g
}

// mark is what stands in a field of the grid: "-" where nothing was asked, as of
// a pod and itself.
func (g *grid) mark(from string, col column) cell {
	cells := g.cells[from][col]
	if len(cells) == 0 {
		return cell{"-", Dim}
	}
	var each []string
	same := true
	for _, c := range cells {
		each = append(each, fmt.Sprintf("%d:%s", c.Family, g.style.short(c.Allowed())))
		same = same && c.Verdict == cells[0].Verdict
	}
	if same {
		return verdict(cells[0].Allowed(), g.style.short(cells[0].Allowed()))
	}
	return cell{strings.Join(each, " "), Yellow}
}

// write writes the grid, in several parts one below the other if it is wider
// than a line.
func (g *grid) write(w io.Writer) error {
	label := utf8.RuneCountInString("FROM")
	for _, name := range g.rows {
		label = max(label, utf8.RuneCountInString(name))
	}
	var out strings.Builder
	for first := 0; first < len(g.columns); {
		end, used := first, label
		for end < len(g.columns) {
			used += g.width(g.columns[end])
			if g.style.Width > 0 && used > g.style.Width && end > first {
				break
			}
			end++
		}
		if first > 0 {
			out.WriteByte('\n')
		}
		g.part(&out, label, g.columns[first:end])
		first = end
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// widths are those of a destination's columns.
func (g *grid) widths(columns []column) []int {
	widths := make([]int, len(columns))
	for i, col := range columns {
		widths[i] = utf8.RuneCountInString(col.service.String())
		for _, from := range g.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(g.mark(from, col).text))
		}
	}
	return widths
}

// width is that of all columns of a destination with the gaps before them: no
// less than its name needs.
func (g *grid) width(columns []column) int {
	sum := 0
	for _, width := range g.widths(columns) {
		sum += len(gap) + width
	}
	return max(sum, len(gap)+utf8.RuneCountInString(columns[0].to))
}

// part writes the columns of some destinations.
func (g *grid) part(out *strings.Builder, label int, destinations [][]column) {
	line := func(name cell, mark func(destination, i int) cell) {
		at := 0 // characters written
		put := func(start int, c cell) {
			if c.text != "" {
				out.WriteString(strings.Repeat(" ", start-at) + g.style.paint(c.color, c.text))
				at = start + utf8.RuneCountInString(c.text)
			}
		}
		put(0, name)
		left := label
		for d, columns := range destinations {
			start := left + len(gap)
			for i, width := range g.widths(columns) {
				put(start, mark(d, i))
				start += width + len(gap)
			}
			left += g.width(columns)
		}
		out.WriteByte('\n')
	}
	line(cell{"TO", Dim}, func(d, i int) cell {
		if i > 0 {
			return cell{}
		}
		return cell{text: destinations[d][0].to}
	})
	line(cell{"FROM", Dim}, func(d, i int) cell { return cell{destinations[d][i].service.String(), Dim} })
	for _, from := range g.rows {
		line(cell{text: from}, func(d, i int) cell { return g.mark(from, destinations[d][i]) })
	}
}
