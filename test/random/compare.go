package random

import (
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/pkg/oracle"
)

// T is what Compare needs of a test; testing.TB and rapid.T are both one.
type T interface {
	Helper()
	Errorf(format string, args ...any)
}

// Judge says whether the product, on the node of the cluster asked about, lets
// the first packet of a connection pass. The detail says how it came to that: a
// trace, say.
type Judge func(oracle.Conn) (allowed bool, detail string, err error)

// Compare asks a judge and the oracle about every probe and reports each
// difference, with all that is needed to see it again. It returns the number of
// probes on which they agree.
//
// After a few differences it stops: more of them rarely say more.
func Compare(t T, w *Cluster, probes []oracle.Conn, judge Judge) int {
	t.Helper()
	agreed, differences := 0, 0
	for _, conn := range probes {
		want := w.Judge(conn)
		got, detail, err := judge(conn)
		if err == nil && got == want.AllowedOn(w.Node) {
			agreed++
			continue
		}
		t.Errorf("%s", Difference(w, conn, got, detail, err))
		if differences++; differences == 3 {
			break
		}
	}
	if differences > 0 {
		t.Errorf("the cluster (seed %s), on %s:\n%s", w.Seed, w.Node, Manifests(w))
	}
	return agreed
}

// Difference renders one disagreement between the product and the oracle.
func Difference(w *Cluster, conn oracle.Conn, got bool, detail string, err error) string {
	v := w.Judge(conn)
	var b strings.Builder
	fmt.Fprintf(&b, "%s (seed %s, on %s): ", conn, w.Seed, w.Node)
	if err != nil {
		fmt.Fprintf(&b, "not judged: %v", err)
	} else {
		fmt.Fprintf(&b, "got %s", word(got))
	}
	fmt.Fprintf(&b, ", want %s\n  egress:  %s\n  ingress: %s", word(v.AllowedOn(w.Node)), explain(v.Egress, w.Node), explain(v.Ingress, w.Node))
	if detail != "" {
		fmt.Fprintf(&b, "\n%s", detail)
	}
	return b.String()
}

func word(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "denied"
}

// explain says how the oracle comes to the verdict of one side.
func explain(s oracle.Side, node string) string {
	var why string
	switch {
	case s.Subject == (oracle.Key{}):
		return "no pod, no policy"
	case s.Exempt != "":
		why = "allowed, " + string(s.Exempt)
	case s.Unknown:
		why = "denied, the pod is not known"
	case !s.Isolated:
		why = "allowed, not isolated"
	case len(s.AllowedBy) == 0:
		why = fmt.Sprintf("denied, isolated by %v", s.IsolatedBy)
	default:
		why = fmt.Sprintf("allowed, isolated by %v, allowed by rules %v", s.IsolatedBy, s.AllowedBy)
	}
	if s.Node != node && !s.Unknown {
		why += fmt.Sprintf(" (enforced on %s)", s.Node)
	}
	return fmt.Sprintf("%s: %s", s.Subject, why)
}
