package docs

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/pkg/metrics"
)

var metricRE = regexp.MustCompile("(?m)^\\| `(sluice_\\w+)` \\| (\\w+) \\| (.*?) \\| (.*) \\|$")

// The page about metrics has each with its type, labels and meaning, in the order
// of the code, and no other; alerts name metrics that there are.
func TestMetricsPageHasWhatTheAgentShows(t *testing.T) {
	page := pages(t)[filepath.Join(root, "docs/metrics.md")]
	rows := metricRE.FindAllStringSubmatch(page, -1)
	all := metrics.Definitions()
	if len(rows) != len(all) {
		t.Errorf("docs/metrics.md has %d metrics, the code %d", len(rows), len(all))
	}
	names := map[string]bool{}
	for i, d := range all {
		names[d.Name] = true
		labels := "-"
		if len(d.Labels) > 0 {
			labels = "`" + strings.Join(d.Labels, "`, `") + "`"
		}
		if i < len(rows) && (rows[i][1] != d.Name || rows[i][2] != string(d.Type) || rows[i][3] != labels || rows[i][4] != d.Help) {
			t.Errorf("docs/metrics.md has\n%s\nthe code\n| `%s` | %s | %s | %s |", rows[i][0], d.Name, d.Type, labels, d.Help)
		}
		if d.Type == metrics.Counter != strings.HasSuffix(d.Name, "_total") {
			t.Errorf("%s is a %s: counters end in _total, and nothing else does", d.Name, d.Type)
		}
		if d.Type == metrics.Histogram {
			names[d.Name+"_bucket"] = true
		}
	}
	for _, name := range regexp.MustCompile(`sluice_\w+`).FindAllString(page, -1) {
		if !names[name] {
			t.Errorf("docs/metrics.md names %s, which is no metric", name)
		}
	}
}
