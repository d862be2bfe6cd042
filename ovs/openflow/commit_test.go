package openflow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

func conjunctions(n int) *ovs.Flow {
	f := &ovs.Flow{Table: 3, Priority: 9, Cookie: 0xbad, Protocol: "ip"}
	for i := range n {
		f.Actions = append(f.Actions, ovs.Conjunction(i+1, 1, 2))
	}
	return f
}

// inconsistent is what is said of an action that lacks a prerequisite: ovs-ofctl
// finds that out by itself, the native channel is told by the switch.
func inconsistent(b *Bridge) string {
	if b.native != nil {
		return "OFPBAC_MATCH_INCONSISTENT"
	}
	return "none of the usable flow formats"
}

func TestRefusedBundleNamesTheChangeAndChangesNothing(t *testing.T) {
	b, s := testBridge(t)
	ctx := testContext(t)
	sandboxtest.Run(t, s, "ovs-vsctl", "--db="+s.Endpoint(),
		"--", "--id=@t", "create", "Flow_Table", "flow_limit=2", "overflow_policy=refuse",
		"--", "set", "bridge", bridgeName, "flow_tables:7=@t")
	standing := parseFlow(t, "cookie=0x1,table=3,priority=1,actions=drop")
	if err := b.Commit(ctx, &Transaction{Add: []*ovs.Flow{standing}}); err != nil {
		t.Fatal(err)
	}
	flow := func(s string) *ovs.Flow { return parseFlow(t, "cookie=0xbad,table=3,priority=9,"+s) }
	raw := func(field, value string) *ovs.Flow {
		return &ovs.Flow{Table: 3, Priority: 9, Cookie: 0xbad, Matches: []ovs.Match{ovs.FieldMatch(field, value)}, Actions: []ovs.Action{ovs.Drop()}}
	}
	for _, c := range []struct {
		name   string
		flow   *ovs.Flow
		reason string
	}{
		{"unknown field", raw("colour", "red"), "unknown keyword colour"},
		{"bad value", flow("ip,nw_src=10.0.0.999,actions=drop"), "10.0.0.999"},
		{"value too wide", flow("tcp,tp_dst=65536,actions=drop"), "tp_dst"},
		{"unknown action", flow("actions=teleport:1"), "teleport"},
		{"port out of range", flow("actions=output:70000"), "70000"},
		{"unknown group", flow("ip,nw_src=10.0.0.7,actions=group:99"), "OFPBAC_BAD_OUT_GROUP"},
		{"backward goto_table", flow("actions=goto_table:2"), "OFPBIC_BAD_TABLE_ID"},
		{"match lacks a prerequisite", flow("tp_dst=80,actions=drop"), "prerequisite"},
		{"port of another protocol", flow("udp,tcp_dst=80,actions=drop"), "prerequisite"},
		{"field twice", flow("tcp,tp_dst=80,tcp_dst=81,actions=drop"), "twice"},
		{"ct field outside of ct", flow("ip,actions=set_field:1->ct_mark"), "CT fields"},
		{"action lacks a prerequisite", flow("actions=dec_ttl"), inconsistent(b)},
		{"actions above 64 KiB", conjunctions(4001), "64016 bytes"},
		{"table", &ovs.Flow{Table: 255, Actions: []ovs.Action{ovs.Drop()}}, "field table"},
		{"priority", &ovs.Flow{Priority: 65536, Actions: []ovs.Action{ovs.Drop()}}, "field priority"},
		{"second line in a match", raw("reg77", "1\nflow delete"), "not allowed"},
		{"table in a match", raw("reg0", "1,table=0"), "table among the matches"},
		{"comment in an action", &ovs.Flow{Actions: []ovs.Action{RawAction("drop # all")}}, "not allowed"},
		{"bad action", &ovs.Flow{Actions: []ovs.Action{ovs.SetField("", "")}}, "action"},
		{"nil", nil, "nil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := &Transaction{
				Delete: []*ovs.Flow{standing},
				Add: []*ovs.Flow{
					parseFlow(t, "table=3,priority=8,actions=drop"), c.flow,
					parseFlow(t, "table=3,priority=7,actions=drop"),
				},
			}
			err := b.Commit(ctx, tr)
			e, ok := errors.AsType[*BundleError](err)
			if !ok {
				t.Fatalf("error is no BundleError: %v", err)
			}
			if e.Index != 2 || e.Offender != c.flow {
				t.Errorf("error names change %d, %v", e.Index, e.Offender)
			}
			if !strings.Contains(e.Reason, c.reason) {
				t.Errorf("reason %q does not say %q", e.Reason, c.reason)
			}
			if c.flow != nil && c.flow.Cookie == 0xbad && !strings.Contains(e.Flow, "cookie=0xbad") {
				t.Errorf("flow text is %q", e.Flow)
			}
			unchanged(t, b, standing)
		})
	}
	t.Run("table full", func(t *testing.T) {
		tr := &Transaction{}
		for i := range 5 {
			tr.Add = append(tr.Add, &ovs.Flow{Table: 7, Priority: i, Protocol: "tcp", Cookie: 0xf, Actions: []ovs.Action{ovs.Drop()}})
		}
		e, ok := errors.AsType[*BundleError](b.Commit(ctx, tr))
		if !ok || e.Index != 2 || e.Reason != "OFPFMFC_TABLE_FULL" || e.Offender != tr.Add[2] {
			t.Errorf("got %+v", e)
		}
		unchanged(t, b, standing)
	})
}

func unchanged(t *testing.T, b *Bridge, want ...*ovs.Flow) {
	t.Helper()
	got, err := b.DumpFlows(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	sameTexts(t, texts(got), texts(want))
}

func TestLargestFlowIsDumpedAgain(t *testing.T) {
	b, _ := testBridge(t)
	f := conjunctions(4000)
	// The match takes its part of the messages too.
	f.Protocol = "tcp6"
	for i := range 16 {
		f.Matches = append(f.Matches, ovs.FieldMatch(fmt.Sprintf("reg%d", i), "0x12345678/0xffff0000"))
	}
	for _, m := range []string{"ct_label=5/7", "ct_state=+trk", "metadata=5/7", "ipv6_src=fd00::/64", "ipv6_dst=fd00::/64", "tp_dst=0x50/0xfff0", "dl_src=00:00:00:00:00:01"} {
		name, value, _ := strings.Cut(m, "=")
		f.Matches = append(f.Matches, ovs.FieldMatch(name, value))
	}
	if err := b.Commit(testContext(t), &Transaction{Add: []*ovs.Flow{f}}); err != nil {
		t.Fatal(err)
	}
	unchanged(t, b, f)
}

func TestAddReplacesAndDeleteIsStrict(t *testing.T) {
	b, _ := testBridge(t)
	ctx := testContext(t)
	flow := func(s string) *ovs.Flow { return parseFlow(t, s) }
	if err := b.Commit(ctx, &Transaction{Add: []*ovs.Flow{
		flow("cookie=1,table=1,priority=5,tcp,tp_dst=80,actions=drop"),
		flow("cookie=2,table=1,priority=5,tcp,actions=drop"),
		flow("cookie=3,table=1,priority=6,tcp,tp_dst=80,actions=drop"),
	}}); err != nil {
		t.Fatal(err)
	}
	replaced := flow("cookie=4,table=1,priority=5,tcp,tcp_dst=0x50,actions=output:1")
	err := b.Commit(ctx, &Transaction{
		Add: []*ovs.Flow{replaced},
		Delete: []*ovs.Flow{
			flow("table=1,priority=5,tcp,actions=output:9"), // the actions don't matter
			flow("table=1,priority=77,udp,actions=drop"),    // nor that there is none
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	unchanged(t, b, replaced, flow("cookie=3,table=1,priority=6,tcp,tp_dst=80,actions=drop"))
}

func TestUnreachableBridgeIsNoBundleError(t *testing.T) {
	dir := t.TempDir()
	b, err := Open(Config{Target: "br-none", RunDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	err = b.Commit(ctx, &Transaction{Add: []*ovs.Flow{parseFlow(t, "actions=drop")}})
	if _, refused := errors.AsType[*BundleError](err); err == nil || refused {
		t.Fatalf("Commit: %v", err)
	}
	for _, want := range []string{"commit to unix:" + dir + "/br-none.mgmt", "no such file or directory"} {
		if !strings.Contains(strings.Replace(err.Error(), "No such", "no such", 1), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if err := b.Commit(ctx, &Transaction{}); err != nil {
		t.Errorf("empty transaction: %v", err)
	}
	if _, err := b.DumpFlows(ctx); err == nil {
		t.Error("DumpFlows of no bridge: no error")
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if err := b.Wait(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(strings.ToLower(err.Error()), "no such file") {
		t.Errorf("Wait: %v", err)
	}
}

func TestEndedContextEndsCommit(t *testing.T) {
	b, _ := testBridge(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := b.Commit(ctx, &Transaction{Add: []*ovs.Flow{parseFlow(t, "actions=drop")}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOpenRefusesWhatIsNoTarget(t *testing.T) {
	for _, target := range []string{"", "--help", "br0 br1", "br0\n"} {
		if _, err := Open(Config{Target: target}); err == nil {
			t.Errorf("Open(%q): no error", target)
		}
	}
	for target, want := range map[string]string{
		"br0":                "unix:/run/x/br0.mgmt",
		"unix:/tmp/br0.mgmt": "unix:/tmp/br0.mgmt",
		"/tmp/br0.mgmt":      "unix:/tmp/br0.mgmt",
		"tcp:127.0.0.1:6653": "tcp:127.0.0.1:6653",
	} {
		b, err := Open(Config{Target: target, RunDir: "/run/x"})
		if err != nil || b.Target() != want {
			t.Errorf("Open(%q): %v, %v", target, b, err)
		}
	}
}
