package main

// style says what the output can show.
type style struct {
	color   bool // escape sequences
	symbols bool // ✓ and ✗ in place of words
	width   int  // characters in a line
}

// The colours in use (ECMA-48, SGR); plain is the terminal's own.
const (
	plain = ""
	red   = "1;31"
	green = "32"
	dim   = "2"
	bold  = "1"
)

func (s style) paint(color, text string) string {
	if !s.color || color == plain {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// mark is what stands for a verdict.
func (s style) mark(allowed bool) string {
	switch {
	case s.symbols && allowed:
		return "✓"
	case s.symbols:
		return "✗"
	}
	return verdict(allowed)
}

// unasked stands where no line of expected.txt asks anything.
func (s style) unasked() string {
	if s.symbols {
		return "·"
	}
	return "-"
}
