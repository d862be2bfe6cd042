package docs

import (
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/cmd/sluice/cli"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/test/need"
)

var (
	// answerRE finds a command and its whole answer, megaflowRE a megaflow and in the
	// next paragraph the command that shows it. Both ask a simulated node.
	answerRE   = regexp.MustCompile("(?ms)^```\n\\$ bin/(sluice trace -f [^\n]*)\n(.*?)^```")
	megaflowRE = regexp.MustCompile("(?m)^```\n(recirc_id=[^\n]*)\n```\n\n\\(`bin/(sluice trace -f [^`]*)`\\)")
)

// Answers of the command that a page shows are what it answers.
func TestTracesThatAreShownAreReal(t *testing.T) {
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	pages := pages(t)
	t.Chdir(root)
	shown := 0
	for path, text := range pages {
		for _, m := range answerRE.FindAllStringSubmatch(text, -1) {
			shown++
			if got := ask(t, m[1]); got != m[2] {
				t.Errorf("%s: %s answers\n%s", filepath.Base(path), m[1], got)
			}
		}
		for _, m := range megaflowRE.FindAllStringSubmatch(text, -1) {
			shown++
			if got := ask(t, m[2]); !strings.Contains(got, "megaflow  "+m[1]+"\n") {
				t.Errorf("%s: %s answers\n%s", filepath.Base(path), m[2], got)
			}
		}
	}
	if shown < 3 {
		t.Errorf("the pages show %d traces that can be tried: are they written as before?", shown)
	}
}

// ask runs a command and returns what it prints.
func ask(t *testing.T, command string) string {
	t.Helper()
	var out strings.Builder
	cli.Run(t.Context(), strings.Fields(command), cli.Streams{Out: &out, Err: io.Discard})
	return out.String()
}
