package observe

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/flows"
)

var gotoRE = regexp.MustCompile(`goto_table:(\d+)|resubmit\(,(\d+)\)|table=(\d+)`)

func TestTablesLeadWhereTheirFlowsDo(t *testing.T) {
	sample, err := os.ReadFile("../../flows/testdata/sample.flows")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]map[string]bool{}
	for line := range strings.Lines(string(sample)) {
		table, rest, _ := strings.Cut(line, " ")
		_, actions, _ := strings.Cut(rest, " actions=")
		for _, m := range gotoRE.FindAllStringSubmatch(actions, -1) {
			n, err := strconv.Atoi(m[1] + m[2] + m[3])
			if err != nil {
				t.Fatal(err)
			}
			if seen[table] == nil {
				seen[table] = map[string]bool{}
			}
			seen[table][flows.Table(n).String()] = true
		}
	}
	for table := range flows.NumTables {
		info, ok := tableInfos[table.String()]
		if !ok || info.job == "" || info.stage == "" {
			t.Errorf("nothing is said of table %s", table)
		}
		for to := range seen[table.String()] {
			if to != table.String() && !slices.Contains(info.leads, to) {
				t.Errorf("%s: a flow leads to %s, and tableInfos does not", table, to)
			}
		}
		for _, to := range info.leads {
			if !seen[table.String()][to] {
				t.Errorf("%s: no flow of the sample leads to %s", table, to)
			}
		}
	}
	for name := range tableInfos {
		if !slices.Contains(slices.Collect(maps.Values(flows.TableNames())), name) {
			t.Errorf("there is no table %s", name)
		}
	}
}
