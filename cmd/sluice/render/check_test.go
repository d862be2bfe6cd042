package render

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

func TestChecksSayWhatIsWrongAndHowToMendIt(t *testing.T) {
	report := &api.CheckReport{Node: "n1", Checks: []api.Check{
		{Name: "ovsdb", Status: api.CheckOK, Message: "answers", Details: []string{"only for those who ask"}, Hint: "none"},
		{Name: "flows", Status: api.CheckFail, Message: "7 of 90 flows differ", Hint: "restart the agent", Details: []string{"a", "b", "c", "d", "e", "f", "g"}},
		{Name: "mtu", Status: api.CheckWarn, Message: "no uplink", Hint: "set mtu"},
		{Name: "api", Status: api.CheckSkip, Message: "there is none"},
	}}
	var out strings.Builder
	if err := Checks(&out, Style{}, report); err != nil {
		t.Fatal(err)
	}
	const want = `ok    ovsdb  answers
fail  flows  7 of 90 flows differ
             a
             b
             c
             d
             e
             … and more: -o wide shows 7
             → restart the agent
warn  mtu    no uplink
             → set mtu
skip  api    there is none

1 of 4 checks have failed on node n1, 1 with a warning, 1 skipped.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVerdictsShowBothReadings(t *testing.T) {
	report := &api.VerdictReport{
		Node: "n1", Seed: 7, Possible: 90, Traced: 50, TimeUp: true, Unknown: []string{"sl1 of pod shop/new"}, More: 2,
		Differences: []api.VerdictDifference{{
			From: "shop/a", To: "shop/db", Protocol: "tcp", Port: 80, Family: 4, Bridge: api.Allowed, BridgeReason: "no policy isolates ingress",
			Policies: api.Denied, PoliciesReason: "ingress of pod shop/db is isolated", Flow: "table=Output",
		}},
	}
	var out strings.Builder
	if err := Verdicts(&out, Style{}, report); err != nil {
		t.Fatal(err)
	}
	const want = `shop/a -> shop/db  tcp/80  IPv4
  bridge    allowed  no policy isolates ingress
  policies  denied   ingress of pod shop/db is isolated
  by table=Output
and 2 more

3 verdicts differ: node n1, 50 connections traced of 90, drawn by --seed 7; the time was up (--time).
Left out: port sl1 of pod shop/new, which is not known yet.
→ sluice check --only flows says whether the bridge holds what it should. If it does, please report this with sluice support-bundle
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := Verdicts(&out, Style{}, &api.VerdictReport{Node: "n1", Possible: 9, Traced: 9}); err != nil ||
		!strings.HasSuffix(out.String(), "The bridge does what the policies say: node n1, 9 connections traced.\n") {
		t.Errorf("of a bridge that is well: %v\n%s", err, out.String())
	}
}
