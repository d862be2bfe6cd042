package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

const rewrite = "restart the agent: it writes what differs, and only that; then find out who else writes the bridge"

// flows compares what is on the bridge with what should be, flow by flow.
func (c *Checker) flows(ctx context.Context) result {
	both, err := c.cfg.Enforcer.Compare(ctx)
	if err != nil {
		return incomparable(err)
	}
	diffs := Differences(both)
	if len(diffs) == 0 {
		learned := ""
		if both.Learned > 0 {
			learned = fmt.Sprintf(" but %d that it has learned", both.Learned)
		}
		return ok("the bridge holds the %d flows that it should, and no other%s", len(both.Desired), learned)
	}
	var owners map[flows.Cookie]string
	if err := c.cfg.Enforcer.Look(ctx, func(v enforce.View) { owners = podsOf(v) }); err != nil {
		return fail(rewrite, "%v", err)
	}
	var details []string
	tables := map[flows.Table][3]int{}
	for _, d := range diffs {
		n := tables[d.Table()]
		n[d.Kind]++
		tables[d.Table()] = n
		text := d.String()
		if pod := owners[d.Cookie()]; pod != "" {
			text += " of pod " + pod
		}
		details = append(details, text)
	}
	var parts []string
	for t := range flows.NumTables {
		if n, there := tables[t]; there {
			parts = append(parts, t.String()+": "+counts(n))
		}
	}
	for t, n := range tables { // tables that are none of ours
		if t >= flows.NumTables {
			parts = append(parts, fmt.Sprintf("table %d: %s", t, counts(n)))
		}
	}
	return fail(rewrite, "%d of %d flows differ; %s", len(diffs), len(both.Desired), strings.Join(parts, "; ")).with(details)
}

// incomparable is the result where the bridge could not be compared.
func incomparable(err error) result {
	if errors.Is(err, enforce.ErrChanging) {
		return skip("%v", err)
	}
	return fail("see the checks enforcer and vswitchd", "%v", err)
}

// groups compares the groups that balance Services.
func (c *Checker) groups(ctx context.Context) result {
	both, err := c.cfg.Enforcer.Compare(ctx)
	if err != nil {
		return incomparable(err)
	}
	found := GroupDifferences(both)
	if len(found) == 0 {
		return ok("the bridge holds the %d groups that it should, and no other", len(both.DesiredGroups))
	}
	return fault(rewrite, found)
}

// GroupDifferences lists in what a bridge's groups differ from what they should
// be, in the syntax of ovs-ofctl(8).
func GroupDifferences(both *enforce.Comparison) []string {
	tx := openflow.DiffGroups(slices.Values(both.DesiredGroups), both.ActualGroups)
	standing := map[uint32]*openflow.Group{}
	for _, g := range both.ActualGroups {
		standing[g.ID] = g
	}
	var out []string
	for _, g := range tx.SetGroups {
		if is := standing[g.ID]; is != nil {
			out = append(out, fmt.Sprintf("group is %s, should be %s", is, g))
		} else {
			out = append(out, fmt.Sprintf("missing: %s", g))
		}
	}
	for _, id := range tx.DeleteGroups {
		out = append(out, fmt.Sprintf("extra: %s", standing[id]))
	}
	return out
}

func counts(n [3]int) string {
	var out []string
	for kind, name := range kindNames {
		if n[kind] > 0 {
			out = append(out, fmt.Sprintf("%d %s", n[kind], name))
		}
	}
	return strings.Join(out, ", ")
}

// podsOf names the pods whose ports' numbers cookies bear.
func podsOf(v enforce.View) map[flows.Cookie]string {
	out := map[flows.Cookie]string{}
	for _, p := range v.Ports() {
		for _, k := range []flows.Kind{
			flows.KindPort, flows.KindSpoof, flows.KindEgressIsolation, flows.KindIngressIsolation, flows.KindEgressPending, flows.KindIngressPending,
		} {
			out[flows.NewCookie(k, uint64(p.OFPort))] = p.Pod.String()
		}
	}
	return out
}

// DifferenceKind says how a flow differs.
type DifferenceKind int

// How a flow differs.
const (
	// Missing is a flow that should be on the bridge, Extra one that should not be,
	// Other one that has another cookie or other actions.
	Missing DifferenceKind = iota
	Extra
	Other
)

var kindNames = [...]string{"missing", "extra", "other than it should be"}

// Difference is a flow in which a bridge differs from what it should hold.
type Difference struct {
	Kind DifferenceKind
	// Want is nil for an extra flow, Is for a missing one.
	Want, Is *flows.Flow
}

// Table is the table of the flow.
func (d Difference) Table() flows.Table { return flows.Table(d.flow().Table) }

// Cookie is the cookie of the flow, as it should be if it should be there.
func (d Difference) Cookie() flows.Cookie { return flows.Cookie(d.flow().Cookie) }

func (d Difference) flow() *flows.Flow {
	if d.Want != nil {
		return d.Want
	}
	return d.Is
}

// String is the difference in the syntax of ovs-ofctl(8), with the object that
// the flow is for.
func (d Difference) String() string {
	name := d.Table().String()
	switch d.Kind {
	case Missing:
		return fmt.Sprintf("missing in %s: %s (%s)", name, openflow.Text(d.Want), d.Cookie())
	case Extra:
		return fmt.Sprintf("extra in %s: %s (%s)", name, openflow.Text(d.Is), d.Cookie())
	}
	return fmt.Sprintf("in %s: is %s, should be %s (%s)", name, openflow.Text(d.Is), openflow.Text(d.Want), d.Cookie())
}

// Differences lists in what a bridge differs from what it should hold, by table.
func Differences(both *enforce.Comparison) []Difference {
	tx := openflow.Diff(slices.Values(both.Desired), both.Actual)
	if len(tx.Add) == 0 && len(tx.Delete) == 0 {
		return nil
	}
	// A flow that differs is in Add alone: adding replaces it.
	add := make(map[string]bool, len(tx.Add))
	for _, f := range tx.Add {
		add[openflow.Key(f)] = true
	}
	standing := map[string]*flows.Flow{}
	for _, f := range both.Actual {
		if key := openflow.Key(f); add[key] {
			standing[key] = f
		}
	}
	var out []Difference
	for _, f := range tx.Add {
		if is := standing[openflow.Key(f)]; is != nil {
			out = append(out, Difference{Other, f, is})
		} else {
			out = append(out, Difference{Missing, f, nil})
		}
	}
	for _, f := range tx.Delete {
		out = append(out, Difference{Extra, nil, f})
	}
	slices.SortStableFunc(out, func(a, b Difference) int { return int(a.Table()) - int(b.Table()) })
	return out
}
