package openflow

import (
	"slices"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

func parseFlow(t testing.TB, s string) *ovs.Flow {
	t.Helper()
	f, err := ParseFlow(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// texts returns the canonical texts of flows, sorted.
func texts(flows []*ovs.Flow) []string {
	out := make([]string, 0, len(flows))
	for _, f := range flows {
		out = append(out, Text(f))
	}
	slices.Sort(out)
	return out
}

// sameTexts compares sorted texts and says what only one side has.
func sameTexts(t *testing.T, got, want []string) {
	t.Helper()
	for _, s := range got {
		if _, ok := slices.BinarySearch(want, s); !ok {
			t.Errorf("only there: %s", s)
		}
	}
	for _, s := range want {
		if _, ok := slices.BinarySearch(got, s); !ok {
			t.Errorf("missing:    %s", s)
		}
	}
}

func TestTextIsOneSpelling(t *testing.T) {
	for _, c := range flowCorpus {
		if c.want == "" {
			continue
		}
		want := c.want
		if !strings.HasPrefix(want, "cookie=") {
			want = "cookie=0x0," + want
		}
		if got := Text(parseFlow(t, c.in)); got != want {
			t.Errorf("Text(%s)\n got %s\nwant %s", c.in, got, want)
		}
		if got := Text(parseFlow(t, want)); got != want {
			t.Errorf("Text is not a fixed point\n got %s\nwant %s", got, want)
		}
	}
}

// The corpus is added by ovs-ofctl itself, in the spelling it is written in, so
// that this package's own rendering has no part in what the switch holds.
func TestDumpEqualsWhatOvsOfctlAdded(t *testing.T) {
	b, s := testBridge(t)
	ctx := testContext(t)
	var input strings.Builder
	var added []*ovs.Flow
	for _, c := range flowCorpus {
		if c.want == "" {
			continue
		}
		input.WriteString(c.in + "\n")
		added = append(added, parseFlow(t, c.in))
	}
	if err := b.Commit(ctx, &Transaction{SetGroups: corpusGroups}); err != nil {
		t.Fatal(err)
	}
	sandboxtest.RunInput(t, s, input.String(), "ovs-ofctl", "-O", "OpenFlow15", "add-flows", b.Target(), "-")
	dumped, err := b.DumpFlows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sameTexts(t, texts(dumped), texts(added))
	if tr := Diff(slices.Values(added), dumped); !tr.Empty() {
		t.Errorf("a difference is left:\n%s", tr)
	}
}

func TestDumpEqualsWhatWasCommitted(t *testing.T) {
	b, _ := testBridge(t)
	ctx := testContext(t)
	tr := &Transaction{SetGroups: corpusGroups}
	for _, c := range flowCorpus {
		if c.want != "" {
			tr.Add = append(tr.Add, parseFlow(t, c.in))
		}
	}
	if err := b.Commit(ctx, tr); err != nil {
		t.Fatal(err)
	}
	dumped, err := b.DumpFlows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sameTexts(t, texts(dumped), texts(tr.Add))
	if err := b.Commit(ctx, &Transaction{Delete: dumped}); err != nil {
		t.Fatal(err)
	}
	if left, err := b.DumpFlows(ctx); err != nil || len(left) > 0 {
		t.Errorf("after deleting all: %d flows, error %v", len(left), err)
	}
}
