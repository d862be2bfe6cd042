package render

import (
	"io"
	"regexp"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Safe returns a writer to a terminal of what others have said, an agent of some node
// say: of what would steer the terminal it passes colours, and writes the rest as
// strconv.Quote does.
func Safe(w io.Writer) io.Writer { return safe{w} }

type safe struct{ w io.Writer }

// colour is an escape sequence as Style.paint writes it.
var colour = regexp.MustCompile("^\x1b\\[[0-9;]*m")

func (s safe) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p))
	for rest := p; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		seq := colour.Find(rest)
		switch {
		case seq != nil:
			size = len(seq)
			out = append(out, seq...)
		case r == utf8.RuneError && size == 1, unicode.IsControl(r) && r != '\n' && r != '\t':
			quoted := strconv.Quote(string(rest[:size]))
			out = append(out, quoted[1:len(quoted)-1]...)
		default:
			out = append(out, rest[:size]...)
		}
		rest = rest[size:]
	}
	if _, err := s.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
