package openflow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// groupCorpus are groups in the spellings people write and what String makes of
// each.
var groupCorpus = []struct{ in, want string }{
	{"group_id=1,type=select,bucket=output:1", "group_id=1,type=select,bucket=bucket_id:0,weight:1,actions=output:1"},
	{"group_id=0x2,type=select,selection_method=dp_hash,bucket=bucket_id=1,weight:100,actions=load:5->NXM_NX_REG1[],ct(zone=65520,commit,nat(dst=10.0.0.1:80)),bucket=bucket_id:2,weight=50,watch_port=2,2",
		"group_id=2,type=select,selection_method=dp_hash,bucket=bucket_id:1,weight:100,actions=set_field:0x5->reg1,ct(commit,zone=65520,nat(dst=10.0.0.1:80)),bucket=bucket_id:2,weight:50,watch_port:2,actions=output:2"},
	{"group_id=3,type=select,selection_method=hash,selection_method_param=0x7,fields(tcp_dst=0xff00,nw_src),bucket=weight:0,drop",
		"group_id=3,type=select,selection_method=hash,selection_method_param=7,fields(ip_src,tcp_dst=65280),bucket=bucket_id:0,weight:0,actions=drop"},
	{"group_id=4,type=select,selection_method=hash,fields=ip_dst,bucket=weight:2,output:1", "group_id=4,type=select,selection_method=hash,fields(ip_dst),bucket=bucket_id:0,weight:2,actions=output:1"},
	{"group_id=5,type=all,bucket=bucket_id:0,output:1,bucket=bucket_id:1,actions=resubmit(,4)", "group_id=5,type=all,bucket=bucket_id:0,actions=output:1,bucket=bucket_id:1,actions=resubmit(,4)"},
	{"group_id=6,type=all", "group_id=6,type=all"},
	{"group_id=7,type=indirect,bucket=dec_ttl,output:1", "group_id=7,type=indirect,bucket=bucket_id:0,actions=dec_ttl,output:1"},
	{"group_id=9,type=select,selection_method=hash,fields(ip_src),bucket=bucket_id:7,weight:100,load:7->NXM_NX_REG12[],mod_nw_dst:10.0.0.1,load:80->NXM_OF_TCP_DST[],resubmit(,4)",
		"group_id=9,type=select,selection_method=hash,fields(ip_src),bucket=bucket_id:7,weight:100,actions=set_field:0x7->reg12,set_field:10.0.0.1->ip_dst,set_field:80->tcp_dst,resubmit(,4)"},
	{"group_id=8,type=fast_failover,bucket=bucket_id:0,watch_port:1,output:1,bucket=bucket_id:1,watch_group:6,output:2",
		"group_id=8,type=ff,bucket=bucket_id:0,watch_port:1,actions=output:1,bucket=bucket_id:1,watch_group:6,actions=output:2"},
}

func parseGroup(t testing.TB, s string) *Group {
	t.Helper()
	g, err := ParseGroup(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGroupTextIsOneSpelling(t *testing.T) {
	for _, c := range groupCorpus {
		if got := parseGroup(t, c.in).String(); got != c.want {
			t.Errorf("ParseGroup(%s)\n got %s\nwant %s", c.in, got, c.want)
		}
		if got := parseGroup(t, c.want).String(); got != c.want {
			t.Errorf("String is not a fixed point\n got %s\nwant %s", got, c.want)
		}
	}
}

func TestGroupsAreDumpedAsCommitted(t *testing.T) {
	b, _ := testBridge(t)
	ctx := testContext(t)
	var groups []*Group
	for _, c := range groupCorpus {
		groups = append(groups, parseGroup(t, c.in))
	}
	// A flow may use a group of its own transaction.
	flow := parseFlow(t, "table=1,priority=1,ip,actions=group:2")
	if err := b.Commit(ctx, &Transaction{SetGroups: groups, Add: []*ovs.Flow{flow}}); err != nil {
		t.Fatal(err)
	}
	sameGroups(t, b, groups...)

	first := groups[1]
	first.Buckets = append(first.Buckets, Bucket{ID: 9, Weight: 7, Actions: []ovs.Action{ovs.Output(1)}})
	change := &Transaction{
		RemoveBuckets: []BucketRemoval{{Group: 2, Bucket: 1}},
		InsertBuckets: []BucketInsertion{{Group: 2, Buckets: first.Buckets[2:]}},
	}
	if err := b.Commit(ctx, change); err != nil {
		t.Fatal(err)
	}
	first.Buckets = first.Buckets[1:]
	sameGroups(t, b, groups...)

	groups[0].Buckets[0].Weight = 3
	actual, err := b.DumpGroups(ctx)
	if err != nil {
		t.Fatal(err)
	}
	diff := DiffGroups(slices.Values(groups[:8]), actual)
	if got, want := diff.String(), "group add_or_mod "+groups[0].String()+"\ngroup delete group_id=8\n"; got != want {
		t.Errorf("DiffGroups:\n got %s\nwant %s", got, want)
	}
	diff.Append(&Transaction{Delete: []*ovs.Flow{flow}, DeleteGroups: []uint32{2}})
	if err := b.Commit(ctx, diff); err != nil {
		t.Fatal(err)
	}
	sameGroups(t, b, slices.Concat(groups[:1], groups[2:8])...)
}

func sameGroups(t *testing.T, b *Bridge, want ...*Group) {
	t.Helper()
	got, err := b.DumpGroups(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	lines := func(groups []*Group) []string {
		var out []string
		for _, g := range groups {
			out = append(out, g.String())
		}
		slices.Sort(out)
		return out
	}
	sameTexts(t, lines(got), lines(want))
	if tr := DiffGroups(slices.Values(want), got); !tr.Empty() {
		t.Errorf("a difference is left:\n%s", tr)
	}
}

func TestRefusedGroupIsNamed(t *testing.T) {
	b, _ := testBridge(t)
	good := &Group{ID: 1, Type: All}
	for _, c := range []struct {
		name   string
		group  *Group
		reason string
	}{
		{"type", &Group{ID: 2, Type: "any"}, "field type"},
		{"id", &Group{ID: MaxGroupID + 1, Type: All}, "field group_id"},
		{"bucket id twice", &Group{ID: 2, Type: All, Buckets: []Bucket{{}, {}}}, "field bucket_id stands twice"},
		{"weight", &Group{ID: 2, Type: All, Buckets: []Bucket{{Weight: 1}}}, "field weight"},
		{"indirect", &Group{ID: 2, Type: Indirect}, "1 bucket"},
		{"selection", &Group{ID: 2, Type: Select, Selection: Selection{Fields: []string{"ip_src"}}}, "selection_method"},
		{"selection of all", &Group{ID: 2, Type: All, Selection: Selection{Method: "hash"}}, "selection_method"},
		{"unknown method", &Group{ID: 2, Type: Select, Selection: Selection{Method: "dice"}}, "field selection_method"},
		{"bad action", &Group{ID: 2, Type: All, Buckets: []Bucket{{Actions: []ovs.Action{RawAction("teleport")}}}}, "teleport"},
		{"learn in a bucket", &Group{ID: 2, Type: Select, Buckets: []Bucket{{Actions: []ovs.Action{RawAction("learn(table=3,NXM_OF_IP_SRC[])"), RawAction("resubmit(,4)")}}}}, "no switch does it in a bucket"},
		{"output to a register in a bucket", &Group{ID: 2, Type: All, Buckets: []Bucket{{Actions: []ovs.Action{RawAction("output:reg1")}}}}, "no switch does it in a bucket"},
		{"two ways out of a bucket", &Group{ID: 2, Type: Select, Buckets: []Bucket{{Actions: []ovs.Action{RawAction("ct(commit,zone=5)"), RawAction("resubmit(,4)")}}}}, "one way out"},
		{"port out of range", &Group{ID: 2, Type: All, Buckets: []Bucket{{Actions: []ovs.Action{ovs.Output(70000)}}}}, "70000"},
		{"nil", nil, "nil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := b.Commit(testContext(t), &Transaction{SetGroups: []*Group{good, c.group}})
			e, ok := errors.AsType[*BundleError](err)
			if !ok || e.Index != 1 || !strings.Contains(e.Reason, c.reason) {
				t.Fatalf("got %v", err)
			}
			if c.group != nil && !strings.Contains(e.Flow, "group_id=") {
				t.Errorf("text is %q", e.Flow)
			}
			sameGroups(t, b)
		})
	}
	err := b.Commit(testContext(t), &Transaction{SetGroups: []*Group{good}, InsertBuckets: []BucketInsertion{{Group: 55, Buckets: []Bucket{{ID: 1, Weight: 1}}}}})
	if e, ok := errors.AsType[*BundleError](err); !ok || e.Index != 1 || e.Reason != "OFPGMFC_UNKNOWN_GROUP" {
		t.Errorf("bucket of a missing group: %v", err)
	}
	sameGroups(t, b)
}

func TestGroupOfManyBucketsIsTaken(t *testing.T) {
	b, _ := testBridge(t)
	g := &Group{ID: 1, Type: Select}
	for i := range 250 {
		g.Buckets = append(g.Buckets, Bucket{ID: uint32(i), Weight: 1, Actions: []ovs.Action{
			RawAction(fmt.Sprintf("set_field:%d->reg1", i)), RawAction("resubmit(,4)"),
		}})
	}
	if err := b.Commit(testContext(t), &Transaction{SetGroups: []*Group{g}}); err != nil {
		t.Fatal(err)
	}
	sameGroups(t, b, g)
}

func TestBadGroupTextIsRefused(t *testing.T) {
	for _, s := range []string{"", "group_id=1", "type=all", "group_id=x,type=all", "group_id=1,type=none", "group_id=1,type=all,colour=red",
		"group_id=1,type=all,bucket=bucket_id:x", "group_id=1,type=select,bucket=weight:70000", "group_id=1,type=ff,bucket=watch_port:p"} {
		if g, err := ParseGroup(s); err == nil {
			t.Errorf("ParseGroup(%q) = %s", s, g)
		}
	}
}
