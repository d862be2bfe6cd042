package simulate

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// workers is how many traces are asked for at once. ovs-vswitchd answers them
// one by one; the others are being explained meanwhile.
const workers = 4

// Families say over which address families a connection is tried.
type Families string

const (
	// FirstFamily is IPv4 where both ends have it, else IPv6.
	FirstFamily Families = "auto"
	OnlyIPv4    Families = "4"
	OnlyIPv6    Families = "6"
	// BothFamilies are those that both ends have.
	BothFamilies Families = "both"
)

// Query says which connections to ask about.
type Query struct {
	// From and To are patterns as of CheckPattern. Without one all pods are meant.
	From, To []string
	// Services are asked of each destination; without one those of interest there.
	Services []Service
	Families Families
	// Progress, if it is set, hears how many of the verdicts are there. It is
	// called from several goroutines.
	Progress func(done, all int)
}

// Connection is a connection to be judged.
type Connection struct {
	// From and To are pods ("namespace/name") or addresses.
	From string `json:"from"`
	To   string `json:"to"`
	Service
}

// String returns "shop/web -> shop/db tcp/5432".
func (c Connection) String() string { return fmt.Sprintf("%s -> %s %s", c.From, c.To, c.Service) }

// Cell is the verdict on one connection over one address family.
type Cell struct {
	Connection
	// Family is 4 or 6.
	Family int `json:"family"`
	// Verdict is api.Allowed or api.Denied, Reason names the rules or policies
	// that decide.
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	// Egress and Ingress are the verdicts at both ends, as in an Explanation.
	Egress  *api.Side `json:"egress,omitempty"`
	Ingress *api.Side `json:"ingress,omitempty"`
}

// Allowed reports whether the connection is allowed.
func (c Cell) Allowed() bool { return c.Verdict == api.Allowed }

// Matrix is the truth table of a cluster.
type Matrix struct {
	Pods    []Pod     `json:"pods"`
	LeftOut []LeftOut `json:"leftOut,omitempty"`
	// Allowed and Denied count the cells.
	Allowed int `json:"allowed"`
	Denied  int `json:"denied"`
	// Cells are ordered by source, destination, service and family.
	Cells []Cell `json:"cells"`
}

// Matrix traces every connection that a query means, but for those of a pod with
// itself, which never leave it.
func (c *Cluster) Matrix(ctx context.Context, q Query) (*Matrix, error) {
	from, err := c.choose("from", q.From)
	if err != nil {
		return nil, err
	}
	to, err := c.choose("to", q.To)
	if err != nil {
		return nil, err
	}
	services := make([][]Service, len(to))
	for i, dst := range to {
		if services[i] = q.Services; len(q.Services) == 0 {
			services[i] = c.servicesOf(dst)
		}
	}
	cells := []Cell{}
	for _, src := range from {
		for i, dst := range to {
			if src.name == dst.name || !src.inside() && !dst.inside() {
				continue
			}
			for _, s := range services[i] {
				for _, family := range common(src, dst, q.Families) {
					cells = append(cells, Cell{Connection: Connection{src.name, dst.name, s}, Family: family})
				}
			}
		}
	}
	if err := c.judge(ctx, cells, q.Progress); err != nil {
		return nil, err
	}
	m := &Matrix{Pods: c.Pods(), LeftOut: c.LeftOut(), Cells: cells}
	for _, cell := range cells {
		if cell.Allowed() {
			m.Allowed++
		} else {
			m.Denied++
		}
	}
	return m, nil
}

// common returns the families over which two ends are to be tried.
func common(a, b end, which Families) (out []int) {
	for _, family := range []int{4, 6} {
		wanted := which != OnlyIPv4 && which != OnlyIPv6 || which == Families(fmt.Sprint(family))
		if !wanted || !a.has(family) || !b.has(family) {
			continue
		}
		out = append(out, family)
		if which != BothFamilies {
			break
		}
	}
	return out
}

// judge traces the connections of cells and fills in what comes of it.
func (c *Cluster) judge(ctx context.Context, cells []Cell, progress func(done, all int)) error {
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	var done atomic.Int64
	for i := range cells {
		if running.Err() != nil {
			break
		}
		group.Go(func() error {
			cell := &cells[i]
			x, err := c.bed.Trace(running, api.TraceRequest{
				From: cell.From, To: cell.To, Protocol: cell.Protocol, Port: cell.Port, Family: cell.Family,
			})
			if err != nil {
				return fmt.Errorf("judge %s: %w", cell.Connection, err)
			}
			cell.Verdict, cell.Reason, cell.Egress, cell.Ingress = x.Verdict, x.Reason, x.Egress, x.Ingress
			if n := done.Add(1); progress != nil {
				progress(int(n), len(cells))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}
