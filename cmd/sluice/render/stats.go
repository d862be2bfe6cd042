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

// traffic is what connections carried. Where nothing is counted it says so: zeros
// would be a statement.
func traffic(t *api.Traffic) cell {
	if t == nil {
		return cell{"not counted", Dim}
	}
	return cell{text: fmt.Sprintf("%d connections, %d packets, %s", t.Connections, t.Packets, bytes(t.Bytes))}
}

// bytes is a number of bytes with a decimal unit.
func bytes(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	v, i := float64(n), 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1000
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

func none(n int) (cells []cell) {
	for range n {
		cells = append(cells, cell{text: "-"})
	}
	return cells
}

func ruleStats(s *api.RuleStats) []cell {
	if s == nil {
		return none(3)
	}
	return []cell{number(s.Attempts), traffic(s.Traffic), since(s.Since)}
}

func policyStats(s *api.PolicyStats) []cell {
	if s == nil {
		return none(4)
	}
	return []cell{number(s.Allowed.Total()), deniedCell(s.Denied.Total()), traffic(s.Traffic), since(s.Since)}
}

func portStats(s *api.PortStats) []cell {
	if s == nil {
		return none(3)
	}
	return []cell{deniedCell(s.Denied.Total()), number(s.Pending.Total()), since(s.Since)}
}
