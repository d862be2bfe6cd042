package trace

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

// balanced leads connections to 10.96.0.1 through two levels of groups to 10.0.0.2
// or 10.0.0.3, and those to 10.96.0.2 to whom a group chooses by their source.
const balanced = `
table=0,ip,actions=ct(table=1,zone=5,nat)
table=1,ip,nw_dst=10.96.0.1,cookie=0x7,actions=group:1
table=1,ip,nw_dst=10.96.0.2,cookie=0x8,actions=group:3
table=1,ip,nw_dst=10.96.0.3,actions=group:4
table=2,ip,reg12=2,cookie=0x9,actions=ct(commit,table=3,zone=5,nat(dst=10.0.0.2:8080))
table=2,ip,reg12=3,cookie=0x9,actions=ct(commit,table=3,zone=5,nat(dst=10.0.0.3:8080))
table=3,ip,nw_dst=10.0.0.2,actions=output:2
table=3,ip,nw_dst=10.0.0.3,actions=output:3
`

func startBalanced(t *testing.T) *sandbox.Sandbox {
	s := startBridge(t)
	sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow15", "del-flows", "br0")
	sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow15", "del-groups", "br0")
	endpoints := "bucket=bucket_id=12,weight=100,actions=set_field:2->reg12,resubmit(,2),bucket=bucket_id=13,weight=100,actions=set_field:3->reg12,resubmit(,2)"
	sandboxtest.RunInput(t, s, "group_id=2,type=select,"+endpoints+"\n"+
		"group_id=1,type=select,selection_method=hash,fields(ip_src,tcp_src),bucket=bucket_id=1,weight=2,actions=group:2\n"+
		"group_id=3,type=select,selection_method=hash,fields(ip_src),"+endpoints+"\n"+
		"group_id=4,type=select\n", "ovs-ofctl", "-O", "OpenFlow15", "add-groups", "br0", "-")
	sandboxtest.RunInput(t, s, balanced, "ovs-ofctl", "-O", "OpenFlow15", "add-flows", "br0", "-")
	return s
}

func TestGroupsLeadToABucket(t *testing.T) {
	s := startBalanced(t)
	seen := map[uint32]bool{}
	for hash := range uint32(16) {
		got, err := Run(t.Context(), s.Vswitchd(), "br0", packet(tcp, "10.96.0.1", 80), Options{Hash: hash + 1})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(got.Steps, func(s Step) bool { return s.Cookie == 7 })
		if i < 0 || len(got.Steps[i].Choices) != 2 {
			t.Fatalf("no two choices:\n%s", got.Raw)
		}
		inner := got.Steps[i].Choices[1]
		seen[inner.Bucket] = true
		to := map[uint32]uint32{12: 2, 13: 3}[inner.Bucket]
		want := []Choice{
			{Group: 1, Bucket: 1, Actions: []string{"group:2"}},
			{Group: 2, Bucket: inner.Bucket, Actions: []string{map[uint32]string{2: "set_field:0x2->reg12", 3: "set_field:0x3->reg12"}[to], "resubmit(,2)"}},
		}
		if diff := cmp.Diff(want, got.Steps[i].Choices); diff != "" {
			t.Fatalf("choices: -want +got\n%s\n%s", diff, got.Raw)
		}
		if got.Incomplete || !slices.Equal(got.Outputs, []uint32{to}) {
			t.Errorf("hash %d: %+v", hash, got.Final)
		}
		last := got.Passes[len(got.Passes)-1]
		if tr := last.Translation; tr == nil || !strings.Contains(tr.Before, "nw_dst=10.96.0.1,tp_dst=80") || !strings.Contains(tr.After, "nw_dst=10.0.0."+string('0'+rune(to))+",tp_dst=8080") {
			t.Errorf("translation %+v", tr)
		}
		if first := got.Passes[1]; first.Translation != nil || len(first.Notes) > 0 {
			t.Errorf("a pass that translates nothing: %+v", first)
		}
	}
	if len(seen) != 2 {
		t.Errorf("buckets %v", seen)
	}
}

// Without a hash of one's own the same packet goes the same way each time.
func TestSamePacketGoesToTheSameBucket(t *testing.T) {
	s := startBalanced(t)
	for _, dst := range []string{"10.96.0.1", "10.96.0.2"} {
		var last []Choice
		for range 3 {
			got, err := Run(t.Context(), s.Vswitchd(), "br0", packet(tcp, dst, 80), Options{})
			if err != nil {
				t.Fatal(err)
			}
			step := got.Steps[1]
			if n := len(step.Choices); n == 0 || last != nil && !cmp.Equal(last, step.Choices) {
				t.Errorf("to %s\n got %+v\nwant %+v", dst, step.Choices, last)
			}
			last = step.Choices
		}
	}
}

func TestGroupWithoutABucketDrops(t *testing.T) {
	s := startBalanced(t)
	got, err := Run(t.Context(), s.Vswitchd(), "br0", packet(tcp, "10.96.0.3", 80), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if last := got.Last(); !got.Dropped || len(last.Choices) > 0 || !slices.Contains(last.Notes, "no live bucket") {
		t.Errorf("%+v, %+v", got.Final, got.Last())
	}
}

// A hash that the datapath has yet to make ends the trace, which says so.
func TestTraceThatEndsAtAHashIsIncomplete(t *testing.T) {
	s := startBalanced(t)
	flow := packet(tcp, "10.96.0.1", 80).Flow() + ",dp_hash=0"
	got, err := RunFlow(t.Context(), s.Vswitchd(), "br0", flow, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Incomplete || got.Dropped {
		t.Errorf("%+v\n%s", got.Final, got.Raw)
	}
}
