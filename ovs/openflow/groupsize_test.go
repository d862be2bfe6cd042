package openflow

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// serviceGroup is a group as Services have them: each bucket leads to an
// endpoint.
func serviceGroup(id uint32, endpoints int, hash bool) *Group {
	g := &Group{ID: id, Type: Select}
	if hash {
		g.Selection = Selection{Method: "hash", Fields: []string{"ip_src"}}
	}
	for i := range endpoints {
		addr := fmt.Sprintf("10.1.%d.%d", i/200, i%200)
		actions := []ovs.Action{
			RawAction(fmt.Sprintf("set_field:%d->reg12", i)), RawAction("set_field:" + addr + "->ip_dst"), RawAction("set_field:8080->tcp_dst"),
		}
		g.Buckets = append(g.Buckets, Bucket{ID: uint32(i), Weight: 100, Actions: append(actions, RawAction("resubmit(,6)"))})
	}
	return g
}

func TestGroupsOfServicesAreDumpedAsCommitted(t *testing.T) {
	b, ofctl, _ := nativeBridge(t)
	six := parseGroup(t, "group_id=6,type=select,bucket=bucket_id:5,weight:100,actions=set_field:0x5->reg12,set_field:fd00::5->ipv6_dst,set_field:53->udp_dst,"+
		"ct(commit,zone=65521,nat(dst=[fd00::5]:53),exec(move:NXM_NX_REG12[]->NXM_NX_CT_LABEL[64..95],set_field:0x1->ct_mark))")
	sctp := parseGroup(t, "group_id=7,type=select,bucket=bucket_id:5,weight:100,actions=set_field:80->sctp_dst,resubmit(,6),bucket=bucket_id:6,weight:0,actions=drop")
	groups := []*Group{
		serviceGroup(1, 1, false), serviceGroup(2, 500, false), serviceGroup(3, 700, true), serviceGroup(4, 250, true), {ID: 5, Type: Select}, six, sctp,
	}
	flow := parseFlow(t, "table=1,tcp,actions=group:3")
	for _, writer := range []*Bridge{b, ofctl} {
		ctx := testContext(t)
		// All in one bundle, and the flow that uses one of them.
		if err := writer.Commit(ctx, &Transaction{SetGroups: groups, Add: []*ovs.Flow{flow}}); err != nil {
			t.Fatal(err)
		}
		for _, reader := range []*Bridge{b, ofctl} {
			sameGroups(t, reader, groups...)
		}
		if err := writer.Commit(ctx, &Transaction{DeleteGroups: []uint32{1, 2, 3, 4, 5, 6, 7}}); err != nil {
			t.Fatal(err)
		}
		// The switch deletes a flow with the group it goes to.
		unchanged(t, ofctl)
	}
	if _, err := b.native.groups(testContext(t)); err != nil {
		t.Errorf("native dump: %v", err)
	}
}

// The largest group that is taken is also described again, by itself and among
// others.
func TestLargestGroupIsDumpedAgain(t *testing.T) {
	b, ofctl, _ := nativeBridge(t)
	largest, larger := serviceGroup(9, 818, true), serviceGroup(9, 819, true)
	if n := largest.Size(); n != MaxGroupBytes || n != serviceGroup(9, 0, true).Size()+818*largest.Buckets[0].Size() {
		t.Errorf("size %d", n)
	}
	for _, other := range []*Group{{ID: 10, Type: Select}, serviceGroup(10, 700, true)} {
		for _, writer := range []*Bridge{b, ofctl} {
			ctx := testContext(t)
			if err := writer.Commit(ctx, &Transaction{SetGroups: []*Group{largest}}); err != nil {
				t.Fatal(err)
			}
			sameGroups(t, ofctl, largest)
			if err := writer.Commit(ctx, &Transaction{SetGroups: []*Group{largest, other}}); err != nil {
				t.Fatal(err)
			}
			sameGroups(t, ofctl, largest, other)
			sameGroups(t, b, largest, other)
			err := writer.Commit(ctx, &Transaction{SetGroups: []*Group{larger}})
			if e, ok := errors.AsType[*BundleError](err); !ok || !strings.Contains(e.Reason, "65488") {
				t.Errorf("a larger one: %v", err)
			}
			if err := writer.Commit(ctx, &Transaction{DeleteGroups: []uint32{9, 10}}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSizeOfGroupOfUnknownActionsIsBounded(t *testing.T) {
	g := parseGroup(t, "group_id=1,type=select,selection_method=hash,fields(ip_src,tcp_dst),bucket=bucket_id:0,weight:1,actions=set_field:1->tun_flags,output:4")
	if n := g.Size(); n < 40+8+8+8+8+40 || n > 1000 {
		t.Errorf("size %d", n)
	}
}

func FuzzGroupSize(f *testing.F) {
	for _, c := range groupCorpus {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := ParseGroup(s)
		if err != nil {
			return
		}
		mod, err := (&encoder{}).group(g)
		if err != nil {
			return
		}
		if got, want := g.Size(), mod.Len(); got != want {
			t.Fatalf("%q: size %d, takes %d", s, got, want)
		}
		back, err := decodeGroup(&mod.GroupDesc)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if got, want := back.String(), g.String(); got != want {
			t.Fatalf("%q\n got %s\nwant %s", s, got, want)
		}
	})
}
