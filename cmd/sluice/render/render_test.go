package render

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

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

func TestStatisticsStandInWideListsWhereThereAreSome(t *testing.T) {
	since := time.Date(2026, 11, 25, 1, 3, 12, 0, time.UTC)
	rules := []api.Rule{
		{Key: "NetworkPolicy/shop/db/ingress/0", Policy: "shop/db", Direction: "ingress", ID: 7, Text: "from pods app=a", Stats: &api.RuleStats{
			Attempts: 12, Since: since, Traffic: &api.Traffic{Connections: 11, Packets: 2500, Bytes: 1_834_000},
		}},
		{Key: "NetworkPolicy/shop/db/ingress/1", Policy: "shop/db", Direction: "ingress", Index: 1, ID: 8, Text: "from pods app=b", Stats: &api.RuleStats{Since: since}},
		{Key: "NetworkPolicy/shop/db/ingress/2", Policy: "shop/db", Direction: "ingress", Index: 2, ID: 9, Text: "from pods app=c"},
	}
	var out strings.Builder
	if err := Rules(&out, Style{Wide: true}, rules); err != nil {
		t.Fatal(err)
	}
	policies := []api.Policy{{Name: "shop/db", Isolates: []string{"ingress"}, Active: true, Stats: &api.PolicyStats{
		Allowed: api.Attempts{Ingress: 12}, Denied: api.Attempts{Ingress: 3, Egress: 1}, Since: since, Traffic: &api.Traffic{Bytes: 999},
	}}}
	if err := Policies(&out, Style{Wide: true}, policies); err != nil {
		t.Fatal(err)
	}
	ports := []api.Port{{Pod: "shop/db", Name: "sl1", OFPort: 2, State: "isolated", Stats: &api.PortStats{Denied: api.Attempts{Ingress: 3}, Since: since}}}
	if err := Ports(&out, Style{Wide: true}, ports); err != nil {
		t.Fatal(err)
	}
	const want = `POLICY   DIRECTION  RULE  ID  ALLOWS           ATTEMPTS  TRAFFIC                               SINCE                 KEY
shop/db  ingress    0     7   from pods app=a  12        11 connections, 2500 packets, 1.8 MB  2026-11-25T01:03:12Z  NetworkPolicy/shop/db/ingress/0
shop/db  ingress    1     8   from pods app=b  0         not counted                           2026-11-25T01:03:12Z  NetworkPolicy/shop/db/ingress/1
shop/db  ingress    2     9   from pods app=c  -         -                                     -                     NetworkPolicy/shop/db/ingress/2
NAME     ISOLATES  RULES  ON THIS NODE  ALLOWED  DENIED  TRAFFIC                          SINCE                 PROBLEMS  APPLIES TO  PODS
shop/db  ingress   0      yes           12       4       0 connections, 0 packets, 999 B  2026-11-25T01:03:12Z  -                     -
POD      PORT  OFPORT  ADDRESSES  STATE     DENIED  PENDING  SINCE                 EGRESS ISOLATED BY  INGRESS ISOLATED BY  MAC  UID
shop/db  sl1   2       -          isolated  3       0        2026-11-25T01:03:12Z  -                   -                         -
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
