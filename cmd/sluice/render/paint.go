package render

// Color is an ANSI colour of text (ECMA-48, SGR).
type Color string

// The colours in use. Plain is the terminal's own.
const (
	Plain  Color = ""
	Red    Color = "31"
	Green  Color = "32"
	Yellow Color = "33"
	Dim    Color = "2"
	Bold   Color = "1"
)

// Style says what the output can show.
type Style struct {
	// Color allows escape sequences, Symbols ✓ and ✗ in place of words.
	Color, Symbols bool
	// Width is how many characters fit in a line; zero means any number.
	Width int
	// Wide asks for all there is to say.
	Wide bool
}

// paint colours a text, if the style allows it.
func (s Style) paint(c Color, text string) string {
	if !s.Color || c == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}
