package need

import (
	"strings"
	"testing"
)

// outcome records how a test would have ended.
type outcome struct {
	testing.TB
	failed, skipped string
}

func (o *outcome) Helper()                      {}
func (o *outcome) Skip(args ...any)             { o.skipped = args[0].(string) }
func (o *outcome) Fatalf(_ string, args ...any) { o.failed = args[0].(string) }

func TestMissingToolSkipsLocallyAndFailsInCI(t *testing.T) {
	for _, tc := range []struct{ ci, failed, skipped string }{
		{ci: "", skipped: "needs no-such-tool: apt-get install it"},
		{ci: "true", failed: "needs no-such-tool: apt-get install it"},
	} {
		t.Setenv("CI", tc.ci)
		var got outcome
		Tool(&got, "no-such-tool", "apt-get install it")
		if got.failed != tc.failed || got.skipped != tc.skipped {
			t.Errorf("CI=%q: failed %q, skipped %q", tc.ci, got.failed, got.skipped)
		}
	}
}

func TestPresentToolIsFoundWithoutSbinInPath(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	var got outcome
	// ldconfig is part of every glibc system, and lives in sbin only.
	path := Tool(&got, "ldconfig", "apt-get install libc-bin")
	if !strings.HasSuffix(path, "/sbin/ldconfig") || got.failed+got.skipped != "" {
		t.Errorf("path %q, failed %q, skipped %q", path, got.failed, got.skipped)
	}
}
