package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// shownDetails is how many of a check's single faults are shown if not all are
// asked for.
const shownDetails = 5

var statusColors = map[string]Color{api.CheckOK: Green, api.CheckWarn: Yellow, api.CheckFail: Red, api.CheckSkip: Dim}

// Checks lays out the checks of a node: what has been found, and below what is
// wrong the single faults and how to mend it.
func Checks(w io.Writer, s Style, r *api.CheckReport) error {
	count := map[string]int{}
	width := 0
	for _, c := range r.Checks {
		width = max(width, len(c.Name))
	}
	var out strings.Builder
	for _, c := range r.Checks {
		count[c.Status]++
		fmt.Fprintf(&out, "%s  %-*s  %s\n", s.paint(statusColors[c.Status], fmt.Sprintf("%-4s", c.Status)), width, c.Name, c.Message)
		indent := strings.Repeat(" ", width+8)
		bad := c.Status == api.CheckWarn || c.Status == api.CheckFail
		if !bad && !s.Wide {
			continue
		}
		for i, d := range c.Details {
			if i == shownDetails && !s.Wide && len(c.Details) > shownDetails+1 {
				fmt.Fprintf(&out, "%s%s\n", indent, s.paint(Dim, fmt.Sprintf("… and more: -o wide shows %d", len(c.Details))))
				break
			}
			fmt.Fprintf(&out, "%s%s\n", indent, d)
		}
		if c.Hint != "" {
			fmt.Fprintf(&out, "%s%s\n", indent, s.paint(Dim, "→ "+c.Hint))
		}
	}
	verdict := s.paint(Green, "Nothing has failed")
	if n := count[api.CheckFail]; n > 0 {
		verdict = s.paint(Red, fmt.Sprintf("%d of %d checks have failed", n, len(r.Checks)))
	}
	fmt.Fprintf(&out, "\n%s", verdict)
	if r.Node != "" {
		fmt.Fprintf(&out, " on node %s", r.Node)
	}
	for _, more := range []struct{ status, text string }{{api.CheckWarn, "%d with a warning"}, {api.CheckSkip, "%d skipped"}} {
		if n := count[more.status]; n > 0 {
			fmt.Fprintf(&out, ", "+more.text, n)
		}
	}
	out.WriteString(".\n")
	_, err := io.WriteString(w, out.String())
	return err
}

// Verdicts lays out on which connections bridge and policies differ.
func Verdicts(w io.Writer, s Style, r *api.VerdictReport) error {
	var out strings.Builder
	for _, d := range r.Differences {
		service := d.Protocol
		if d.Port != 0 {
			service = fmt.Sprintf("%s/%d", d.Protocol, d.Port)
		}
		fmt.Fprintf(&out, "%s -> %s  %s  IPv%d\n", s.paint(Bold, d.From), s.paint(Bold, d.To), service, d.Family)
		for _, v := range []struct{ who, verdict, reason string }{
			{"bridge  ", d.Bridge, d.BridgeReason}, {"policies", d.Policies, d.PoliciesReason},
		} {
			color := Green
			if v.verdict != api.Allowed {
				color = Red
			}
			fmt.Fprintf(&out, "  %s  %s  %s\n", v.who, s.paint(color, fmt.Sprintf("%-7s", v.verdict)), v.reason)
		}
		if d.Flow != "" {
			fmt.Fprintf(&out, "  %s\n", s.paint(Dim, "by "+d.Flow))
		}
	}
	if r.More > 0 {
		fmt.Fprintf(&out, "and %d more\n", r.More)
	}
	if len(r.Differences) > 0 {
		out.WriteByte('\n')
	}
	verdict := s.paint(Green, "The bridge does what the policies say")
	if n := len(r.Differences) + r.More; n > 0 {
		verdict = s.paint(Red, fmt.Sprintf("%d verdicts differ", n))
	}
	fmt.Fprintf(&out, "%s: node %s, %d connections traced", verdict, r.Node, r.Traced)
	if r.Traced < r.Possible {
		fmt.Fprintf(&out, " of %d, drawn by --seed %d", r.Possible, r.Seed)
	}
	if r.TimeUp {
		out.WriteString("; the time was up (--time)")
	}
	out.WriteString(".\n")
	for _, u := range r.Unknown {
		fmt.Fprintf(&out, "Left out: port %s, which is not known yet.\n", u)
	}
	if len(r.Differences) > 0 {
		fmt.Fprintf(&out, "%s\n", s.paint(Dim, "→ sluice check --only flows says whether the bridge holds what it should. If it does, please report this with sluice support-bundle"))
	}
	_, err := io.WriteString(w, out.String())
	return err
}
