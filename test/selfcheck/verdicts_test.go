package selfcheck

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// brokenVerdicts holds that a bridge that lets through, or keeps back, what it
// should not is found by its verdicts too.
func brokenVerdicts(t *testing.T, n *node) {
	begun := time.Now()
	code, r := n.verdicts(t)
	t.Logf("%d connections in %s", r.Traced, time.Since(begun).Round(time.Millisecond))
	if code != 0 || len(r.Differences) != 0 || r.Traced != r.Possible || r.Traced < 100 || len(r.Unknown) != 0 {
		t.Errorf("of a bridge that is well: exit code %d, %+v", code, r)
	}
	db := n.port(t, "db")

	// What isolates the database is gone: nothing that should be denied is.
	n.ofctl(t, "del-flows", "br-sluice", fmt.Sprintf("cookie=0x%x/-1", 8<<48|uint64(db.OFPort)))
	code, r = n.verdicts(t)
	if code != 1 || len(r.Differences) == 0 {
		t.Fatalf("without the deny flow: exit code %d, %+v", code, r)
	}
	for _, d := range r.Differences {
		if d.To != "shop/db" || d.Bridge != api.Allowed || d.Policies != api.Denied ||
			!strings.Contains(d.PoliciesReason, "isolated by NetworkPolicy shop/db-guard, and no rule allows this") || d.BridgeReason == "" || d.Flow == "" {
			t.Errorf("without the deny flow: %+v", d)
		}
	}
	_, out := n.sluice(t, "check", "--policies")
	if !strings.Contains(out, "verdicts differ: node node0") || !strings.Contains(out, "  policies  denied   ") {
		t.Errorf("told as\n%s", out)
	}
	n.resync(t)

	// A drawn sample finds it too, the same one by the same seed.
	n.ofctl(t, "add-flow", "br-sluice", "table=IngressDefault,priority=9999,tcp,tp_dst=40001,actions=goto_table:Commit")
	_, a := n.verdicts(t, "--max", "400", "--seed", "7")
	_, b := n.verdicts(t, "--max", "400", "--seed", "7")
	if a.Traced != 400 || a.Seed != 7 || len(a.Differences) == 0 || fmt.Sprint(a.Differences) != fmt.Sprint(b.Differences) {
		t.Errorf("with an allow flow, by one seed:\n%+v\n%+v", a, b)
	}
	for _, d := range a.Differences {
		if d.Port != 40001 || d.Bridge != api.Allowed {
			t.Errorf("with an allow flow: %+v", d)
		}
	}
	n.resync(t)

	// And one that denies.
	n.ofctl(t, "add-flow", "br-sluice", "table=IngressPolicy,priority=65535,tcp,tp_dst=5432,actions=drop")
	if code, r := n.verdicts(t); code != 1 || len(r.Differences) == 0 || r.Differences[0].Policies != api.Allowed ||
		!strings.Contains(r.Differences[0].PoliciesReason, "allowed by rule 0 of NetworkPolicy shop/db-guard") {
		t.Errorf("with a deny flow: exit code %d, %+v", code, r)
	}
	n.resync(t)
}
