package flows_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The switch takes every flow of the sample, and shows what the golden file has.
func TestSampleLoadsAndReadsAsTheGoldenFlows(t *testing.T) {
	sb := sandboxtest.Start(t, "dummy")
	p := flows.New()
	flows.ApplySample(t, p)
	load(t, sb, p)
	got := golden(sandboxtest.Run(t, sb, "ovs-ofctl", "-O", "OpenFlow15", "--no-stats", "dump-flows", "br"))

	const path = "testdata/sample.flows"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the bridge holds not what %s says (go test ./flows -update writes it anew); got:\n%s", path, got)
	}
}

var (
	tableRE  = regexp.MustCompile(`table=(\d+), `)
	cookieRE = regexp.MustCompile(`cookie=(0x[0-9a-f]+), `)
	prioRE   = regexp.MustCompile(`priority=(\d+)`)
)

// golden orders a dump by table and priority, and writes tables and cookies by
// name.
func golden(dump string) string {
	type line struct {
		table, prio int
		text        string
	}
	var lines []line
	for l := range strings.Lines(dump) {
		l = strings.TrimSpace(l)
		if !strings.HasPrefix(l, "cookie=") {
			continue
		}
		var out line
		if m := tableRE.FindStringSubmatch(l); m != nil {
			out.table, _ = strconv.Atoi(m[1])
		}
		out.prio, _ = strconv.Atoi(prioRE.FindStringSubmatch(l)[1])
		c, _ := strconv.ParseUint(cookieRE.FindStringSubmatch(l)[1], 0, 64)
		l = cookieRE.ReplaceAllString(tableRE.ReplaceAllString(l, ""), "")
		out.text = fmt.Sprintf("%-15s %-24s %s\n", flows.Table(out.table), flows.Cookie(c), l)
		lines = append(lines, out)
	}
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(b.prio, a.prio), cmp.Compare(a.text, b.text))
	})
	var out strings.Builder
	for _, l := range lines {
		out.WriteString(l.text)
	}
	return out.String()
}
