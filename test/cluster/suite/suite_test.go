package suite

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var some = Set{Name: "some", Focus: `\[sig-network\] (Netpol|DNS)`}

// noSCTP is an exclusion that holds on all machines.
var noSCTP = []exclusion{{`\[Feature:SCTPConnectivity\]`, "this kernel has no SCTP", func() bool { return true }}}

func results(t *testing.T) []Result {
	t.Helper()
	f, err := os.Open("testdata/junit.xml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	results, err := parse(f, some, noSCTP)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestEachTestOfASetHasAResult(t *testing.T) {
	want := []Result{
		{Test: "[SynchronizedBeforeSuite]", State: Failed, Took: 3 * time.Second, Reason: "no node is ready"},
		{Test: "[sig-network] DNS should not be reached [Conformance]", State: Unreached, Reason: "the suite ended before it"},
		{Test: "[sig-network] DNS should provide DNS for services [Conformance]", State: Failed, Took: 4702 * time.Millisecond, Reason: "[FAILED] no answer"},
		{Test: "[sig-network] DNS should wait", State: Failed, Took: 20 * time.Second, Reason: "[INTERRUPTED] Interrupted by User"},
		{Test: "[sig-network] Netpol [Feature:SCTPConnectivity] should allow", State: Skipped, Reason: "this kernel has no SCTP"},
		{Test: "[sig-network] Netpol should deny <all>", State: Passed, Took: 17250 * time.Millisecond},
		{Test: "[sig-network] Netpol should need a cloud", State: Skipped, Reason: "Only supported for providers [gce]"},
	}
	if diff := cmp.Diff(want, results(t)); diff != "" {
		t.Error(diff)
	}
}

func TestAReportThatIsCutOffIsRefused(t *testing.T) {
	text, err := os.ReadFile("testdata/junit.xml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(bytes.NewReader(text[:len(text)/2]), some, nil); err == nil {
		t.Error("half a report is read as a report")
	}
}

func TestReportsNameEachTest(t *testing.T) {
	sections := []Section{{Set: some, Results: results(t), Took: 95 * time.Second}}
	for _, tt := range []struct {
		golden string
		write  func(io.Writer) error
	}{
		{"testdata/report.txt", func(w io.Writer) error { return WriteList(w, sections) }},
		{"testdata/report.md", func(w io.Writer) error { return WriteMarkdown(w, "Report", sections) }},
		{"testdata/terminal.txt", func(w io.Writer) error { return WriteText(w, sections) }},
	} {
		var got strings.Builder
		if err := tt.write(&got); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(tt.golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s: %s", tt.golden, diff)
		}
	}
}

func TestTestsAreReportedAsTheyEnd(t *testing.T) {
	const out = `------------------------------
[sig-network] Netpol should deny all [sig-network, Feature:NetworkPolicy]
/src/netpol.go:150
  STEP: • [not a result]
• [17.250 seconds]
------------------------------
[sig-network] DNS should provide DNS [Conformance] [sig-network, Conformance]
• [FAILED] [4.702 seconds]
[sig-network] DNS [It] should provide DNS [Conformance] [sig-network, Conformance]
------------------------------
S [SKIPPED] [0.010 seconds]
• [0.001 seconds]
`
	const want = `[PASSED] [17.250 seconds] [sig-network] Netpol should deny all
[FAILED] [4.702 seconds] [sig-network] DNS should provide DNS [Conformance]
[SKIPPED] [0.010 seconds] [sig-network] DNS [It] should provide DNS [Conformance]
`
	var got strings.Builder
	if err := follow(iotest.OneByteReader(strings.NewReader(out)), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestALineTooLongDoesNotBlockTheSuite(t *testing.T) {
	out := strings.NewReader(strings.Repeat("x", 2<<20) + "\nmore\n")
	if err := follow(out, io.Discard); err == nil {
		t.Error("it is not said that lines were lost")
	}
	if out.Len() > 0 {
		t.Errorf("%d bytes are left unread", out.Len())
	}
}

func TestSetsAreFoundByName(t *testing.T) {
	sets, err := Find(Sets, []string{"conformance", "netpol"})
	if err != nil || len(sets) != 2 || sets[0].Name != "conformance" {
		t.Errorf("got %v, %v", sets, err)
	}
	if _, err := Find(Sets, []string{"other"}); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("a set that is not there: %v", err)
	}
}
