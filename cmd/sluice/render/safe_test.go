package render

import (
	"io"
	"strings"
	"testing"
)

func TestOnlyColoursSteerATerminal(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"a → b\t✓\n":               "a → b\t✓\n",
		"\x1b[31mred\x1b[0m":       "\x1b[31mred\x1b[0m",
		"\x1b]0;title\x07":         `\x1b]0;title\a`,
		"\x1b[2J\x1b[1;31mon\x1bm": `\x1b[2J` + "\x1b[1;31mon" + `\x1bm`,
		"\u009b2J \x9b2J\r\x7f":    `\u009b2J \x9b2J\r\x7f`,
		"\x1b[31":                  `\x1b[31`,
	} {
		var b strings.Builder
		if n, err := io.WriteString(Safe(&b), text); n != len(text) || err != nil {
			t.Errorf("%q: wrote %d: %v", text, n, err)
		}
		if b.String() != want {
			t.Errorf("%q is written as %q, want %q", text, b.String(), want)
		}
	}
}
