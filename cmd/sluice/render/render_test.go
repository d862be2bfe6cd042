package render

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

func cellOf(from, to string, port uint16, family int, allowed bool) simulate.Cell {
	c := simulate.Cell{
		Connection: simulate.Connection{From: from, To: to, Service: simulate.Service{Protocol: "tcp", Port: port}},
		Family:     family, Verdict: api.Denied,
	}
	if allowed {
		c.Verdict = api.Allowed
	}
	return c
}

var sample = &simulate.Matrix{Allowed: 4, Denied: 3, Cells: []simulate.Cell{
	cellOf("a/client", "a/server-with-a-long-name", 80, 4, true),
	cellOf("a/client", "b/x", 80, 4, true),
	cellOf("a/client", "b/x", 443, 4, true),
	cellOf("a/client", "b/x", 443, 6, false),
	cellOf("b/x", "a/client", 80, 4, false),
	cellOf("b/x", "a/server-with-a-long-name", 80, 4, true),
	cellOf("a/server-with-a-long-name", "a/client", 80, 4, false),
}}

func layout(t *testing.T, s Style) string {
	t.Helper()
	var out strings.Builder
	if err := Matrix(&out, s, sample); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestMatrixHasAColumnForEachServiceOfEachDestination(t *testing.T) {
	want := `TO                         a/client  b/x                     a/server-with-a-long-name
FROM                       tcp/80    tcp/80  tcp/443         tcp/80
a/client                   -         allow   4:allow 6:deny  allow
b/x                        deny      -       -               allow
a/server-with-a-long-name  deny      -       -               -
4 allowed, 3 denied
`
	if got := layout(t, Style{}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestMatrixIsBrokenWhereTheLineEnds(t *testing.T) {
	want := `TO                         a/client  b/x
FROM                       tcp/80    tcp/80  tcp/443
a/client                   -         ✓       4:✓ 6:✗
b/x                        ✗         -       -
a/server-with-a-long-name  ✗         -       -

TO                         a/server-with-a-long-name
FROM                       tcp/80
a/client                   ✓
b/x                        ✓
a/server-with-a-long-name  -
4 allowed, 3 denied
`
	if got := layout(t, Style{Symbols: true, Width: 60}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	// No width is too small for one destination.
	if got := layout(t, Style{Width: 1}); strings.Count(got, "FROM") != 3 {
		t.Errorf("got\n%s", got)
	}
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestColoursMoveNothing(t *testing.T) {
	coloured := layout(t, Style{Color: true})
	if !strings.Contains(coloured, "\x1b[31mdeny\x1b[0m") || !strings.Contains(coloured, "\x1b[32mallow\x1b[0m") {
		t.Errorf("verdicts are not coloured:\n%q", coloured)
	}
	if got, want := escape.ReplaceAllString(coloured, ""), layout(t, Style{}); got != want {
		t.Errorf("without its colours it is\n%swant\n%s", got, want)
	}
	ports := []api.Port{{Pod: "a/b", Name: "sl1", State: "isolated", Addrs: []string{"10.0.0.1"}}, {Pod: "a/c", State: "open"}}
	var plain, colour strings.Builder
	if err := Ports(&plain, Style{}, ports); err != nil {
		t.Fatal(err)
	}
	if err := Ports(&colour, Style{Color: true}, ports); err != nil {
		t.Fatal(err)
	}
	if escape.ReplaceAllString(colour.String(), "") != plain.String() {
		t.Errorf("got\n%swant\n%s", colour.String(), plain.String())
	}
}

func TestTableIsAlignedByCharactersWithoutBlanksAtTheEnd(t *testing.T) {
	table := table{}
	table.header("A", "B")
	table.row("ключ", "1")
	table.row("x", "")
	var out strings.Builder
	if err := table.write(&out, " "); err != nil {
		t.Fatal(err)
	}
	if want := " A     B\n ключ  1\n x\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	for line := range strings.Lines(layout(t, Style{Symbols: true})) {
		if text := strings.TrimSuffix(line, "\n"); strings.TrimRight(text, " ") != text || utf8.RuneCountInString(text) == 0 {
			t.Errorf("line %q", line)
		}
	}
}

func TestALongListIsCutInANarrowTableOnly(t *testing.T) {
	ids := []api.Identity{{Direction: "ingress", ID: 7, Pods: []string{"a", "b", "c", "d", "e", "f"}}}
	var narrow, wide strings.Builder
	if err := Identities(&narrow, Style{}, ids); err != nil {
		t.Fatal(err)
	}
	if err := Identities(&wide, Style{Wide: true}, ids); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(narrow.String(), "a, b, c, d and 2 more") || !strings.Contains(wide.String(), "a, b, c, d, e, f") {
		t.Errorf("narrow:\n%swide:\n%s", narrow.String(), wide.String())
	}
}
