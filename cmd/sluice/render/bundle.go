package render

import (
	"fmt"
	"io"
	"strconv"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Bundle lays out what has been written into a support bundle: with Wide every
// file, else what is missing.
func Bundle(w io.Writer, s Style, path string, m *api.Manifest) error {
	t := table{style: s}
	if s.Wide {
		t.header("FILE", "BYTES", "WHAT")
	}
	missing := 0
	for _, f := range m.Files {
		what := cell{f.About, Plain}
		switch {
		case f.Error != "":
			missing++
			what = cell{f.Error, Yellow}
		case f.Truncated:
			what = cell{f.About + " (only the beginning)", Yellow}
		}
		if s.Wide || what.color != Plain {
			t.cells(cell{text: f.Name}, cell{text: strconv.Itoa(f.Bytes)}, what)
		}
	}
	if err := t.write(w, ""); err != nil {
		return err
	}
	names := "Names and addresses are in it as they are"
	if m.Redacted {
		names = "Names and addresses are replaced"
	}
	_, err := fmt.Fprintf(w, "Wrote %s: %d files, %d could not be had whole. %s.\n", path, len(m.Files), missing, names)
	return err
}
