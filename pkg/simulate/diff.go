package simulate

// Change is a connection whose verdict is not what it was.
type Change struct {
	// Before is the verdict there was, empty if the connection was none then.
	Before string `json:"before,omitempty"`
	// Cell is how it is now; of a connection that is none any more how it was, and
	// Gone is true.
	Cell
	Gone bool `json:"gone,omitempty"`
}

// Changes compares two matrices of the same query: first what is new or other
// than before, in the order of the later one, then what is gone.
func Changes(before, after *Matrix) []Change {
	type id struct {
		Connection
		family int
	}
	was, is := map[id]string{}, map[id]bool{}
	for _, c := range before.Cells {
		was[id{c.Connection, c.Family}] = c.Verdict
	}
	out := []Change{}
	for _, c := range after.Cells {
		k := id{c.Connection, c.Family}
		is[k] = true
		if was[k] != c.Verdict {
			out = append(out, Change{Before: was[k], Cell: c})
		}
	}
	for _, c := range before.Cells {
		if !is[id{c.Connection, c.Family}] {
			out = append(out, Change{Before: c.Verdict, Cell: c, Gone: true})
		}
	}
	return out
}
