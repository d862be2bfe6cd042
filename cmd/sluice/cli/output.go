package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
)

// format is the value of --output.
type format string

const (
	formatTable format = "table"
	formatWide  format = "wide"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	// formatExpect is what simulate --expect reads.
	formatExpect format = "expect"
)

// String implements pflag.Value.
func (f *format) String() string {
	if *f == "" {
		*f = formatTable
	}
	return string(*f)
}

// Type implements pflag.Value.
func (f *format) Type() string { return "format" }

// Set implements pflag.Value.
func (f *format) Set(text string) error {
	switch v := format(text); v {
	case formatTable, formatWide, formatJSON, formatYAML, formatExpect:
		*f = v
		return nil
	}
	return fmt.Errorf("want table, wide, json or yaml")
}

// print writes an answer: as data, or by layout.
func (a *app) print(answer any, layout func(io.Writer, render.Style) error) error {
	switch a.output {
	case formatJSON:
		out := json.NewEncoder(a.streams.Out)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		return out.Encode(answer)
	case formatYAML:
		data, err := yaml.Marshal(answer)
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		_, err = a.streams.Out.Write(data)
		return err
	case formatExpect:
		return usagef("--output expect is for simulate without --expect")
	}
	return layout(render.Safe(a.streams.Out), a.style())
}

// people reports whether people read the answer, not programs.
func (a *app) people() bool {
	return a.output != formatJSON && a.output != formatYAML && a.output != formatExpect
}

// style is what the terminal can show, if the output is one.
func (a *app) style() render.Style {
	s := render.Style{Wide: a.output == formatWide}
	if fd, ok := terminal(a.streams.Out); ok {
		s.Symbols = true
		s.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if width, _, err := term.GetSize(fd); err == nil {
			s.Width = width
		}
	}
	return s
}

// terminal returns the descriptor of a stream that is a terminal.
func terminal(w io.Writer) (fd int, ok bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, false
	}
	return int(f.Fd()), term.IsTerminal(int(f.Fd()))
}
