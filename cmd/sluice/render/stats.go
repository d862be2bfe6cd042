package render

import (
	"fmt"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// columns are the names of columns, those of statistics among them if there are
// some.
func columns(counted bool, before, stats, after []string) []string {
	if !counted {
		stats = nil
	}
	return append(append(append([]string{}, before...), stats...), after...)
}

// since is a time as people read it.
func since(t time.Time) cell { return cell{text: t.UTC().Format(time.RFC3339)} }

func number(n uint64) cell { return cell{text: fmt.Sprint(n)} }

// deniedCell stands out where something was denied.
func deniedCell(n uint64) cell {
	c := number(n)
	if n > 0 {
		c.color = Red
	}
	return c
}

func none(n int) (cells []cell) {
	for range n {
		cells = append(cells, cell{text: "-"})
	}
	return cells
}

func ruleStats(s *api.RuleStats) []cell {
	if s == nil {
		return none(2)
	}
	return []cell{number(s.Attempts), since(s.Since)}
}

func policyStats(s *api.PolicyStats) []cell {
	if s == nil {
		return none(3)
	}
	return []cell{number(s.Allowed.Total()), deniedCell(s.Denied.Total()), since(s.Since)}
}

func portStats(s *api.PortStats) []cell {
	if s == nil {
		return none(3)
	}
	return []cell{deniedCell(s.Denied.Total()), number(s.Pending.Total()), since(s.Since)}
}
