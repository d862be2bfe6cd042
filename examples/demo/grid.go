package main

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// gap is between two columns.
const gap = "  "

// column is a service of a destination.
type column struct {
	to      string
	service service
}

// grid is the matrix of an example: a row for each source, a column for each
// service of each destination. Both are in the order of expected.txt.
type grid struct {
	style   style
	rows    []string
	columns []column
	cells   map[string]map[column]cell
	widths  []int
}

func newGrid(s style, results []result) *grid {
	g := &grid{style: s, cells: map[string]map[column]cell{}}
	var order []string
	services := map[string][]column{}
	seen := map[column]bool{}
	for _, r := range results {
		from, col := r.From.String(), column{r.To.String(), serviceOf(r.Expectation)}
		if g.cells[from] == nil {
			g.cells[from] = map[column]cell{}
			g.rows = append(g.rows, from)
		}
		g.cells[from][col] = s.cell(r)
		if seen[col] {
			continue
		}
		seen[col] = true
		if services[col.to] == nil {
			order = append(order, col.to)
		}
		services[col.to] = append(services[col.to], col)
	}
	for _, to := range order {
		slices.SortFunc(services[to], func(a, b column) int {
			return cmp.Or(cmp.Compare(a.service.protocol, b.service.protocol), cmp.Compare(a.service.port, b.service.port))
		})
		g.columns = append(g.columns, services[to]...)
		g.measure(services[to])
	}
	return g
}

// measure finds the widths of a destination's columns. The last one is as wide
// as the name above them needs.
func (g *grid) measure(columns []column) {
	sum := -len(gap)
	for _, col := range columns {
		width := len(col.service.String())
		for _, row := range g.rows {
			width = max(width, g.cell(row, col).width())
		}
		g.widths = append(g.widths, width)
		sum += len(gap) + width
	}
	g.widths[len(g.widths)-1] += max(0, len(columns[0].to)-sum)
}

func (g *grid) cell(row string, col column) cell {
	if c, ok := g.cells[row][col]; ok {
		return c
	}
	return cell{g.style.unasked(), dim}
}

// write writes the grid, in parts one below the other if it is wider than a
// line. A destination is kept together where it fits.
func (g *grid) write(w io.Writer) error {
	var out strings.Builder
	for first := 0; first < len(g.columns); {
		end := g.fit(first)
		if first > 0 {
			out.WriteByte('\n')
		}
		g.part(&out, first, end)
		first = end
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// label is the width of the first column.
func (g *grid) label() int {
	width := 0
	for _, row := range g.rows {
		width = max(width, len(row))
	}
	return width
}

// fit returns the end of the columns from first on that fit into a line.
func (g *grid) fit(first int) int {
	used, end, whole := g.label(), first, first
	for ; end < len(g.columns); end++ {
		used += len(gap) + g.widths[end]
		if end > first && g.columns[end].to != g.columns[end-1].to {
			whole = end
		}
		if used > g.style.width && end > first {
			break
		}
	}
	if end < len(g.columns) && whole > first {
		return whole
	}
	return end
}

// part writes the columns from first to end, and the rows that have a cell
// there.
func (g *grid) part(out *strings.Builder, first, end int) {
	g.line(out, first, end, cell{}, func(i int) cell {
		if i == first || g.columns[i].to != g.columns[i-1].to {
			return cell{g.columns[i].to, bold}
		}
		return cell{}
	})
	g.line(out, first, end, cell{}, func(i int) cell { return cell{g.columns[i].service.String(), dim} })
	for _, row := range g.rows {
		asked := false
		for _, col := range g.columns[first:end] {
			_, ok := g.cells[row][col]
			asked = asked || ok
		}
		if asked {
			g.line(out, first, end, cell{row, bold}, func(i int) cell { return g.cell(row, g.columns[i]) })
		}
	}
}

// line writes a line, without blanks at its end. A cell may reach into empty
// ones after it.
func (g *grid) line(out *strings.Builder, first, end int, label cell, at func(i int) cell) {
	column, written := 0, 0
	put := func(c cell) {
		if c.text == "" {
			return
		}
		out.WriteString(strings.Repeat(" ", column-written) + g.style.paint(c.color, c.text))
		written = column + c.width()
	}
	put(label)
	column = g.label()
	for i := first; i < end; i++ {
		column += len(gap)
		put(at(i))
		column += g.widths[i]
	}
	out.WriteByte('\n')
}
