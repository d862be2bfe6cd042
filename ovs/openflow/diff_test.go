package openflow

import (
	"slices"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
)

func TestDiffAddsWhatIsMissingOrOtherAndDeletesTheRest(t *testing.T) {
	flows := func(list ...string) []*ovs.Flow {
		var out []*ovs.Flow
		for _, s := range list {
			out = append(out, parseFlow(t, s))
		}
		return out
	}
	for _, c := range []struct {
		name            string
		desired, actual []*ovs.Flow
		want            string
	}{
		{"nothing", nil, nil, ""},
		{
			"equal in other words",
			flows("cookie=5,table=1,priority=7,tcp,tcp_dst=80,actions=load:1->NXM_NX_REG0[],goto_table:2"),
			flows("cookie=0x5, table=1, priority=7,tcp,tp_dst=0x50 actions=set_field:0x1->reg0,goto_table:2"),
			"",
		},
		{"missing", flows("table=1,priority=7,actions=drop"), nil, "flow add cookie=0x0,table=1,priority=7,actions=drop\n"},
		{"not desired", nil, flows("cookie=3,table=1,priority=7,ip,actions=drop"), "flow delete_strict table=1,priority=7,ip\n"},
		{
			"other actions, cookie, timeout",
			flows("priority=1,actions=drop", "cookie=2,priority=2,actions=drop", "idle_timeout=3,priority=3,actions=drop", "priority=4,actions=drop"),
			flows("priority=4,actions=drop", "priority=3,actions=drop", "cookie=1,priority=2,actions=drop", "priority=1,actions=output:1"),
			"flow add cookie=0x0,table=0,priority=1,actions=drop\nflow add cookie=0x2,table=0,priority=2,actions=drop\nflow add cookie=0x0,idle_timeout=3,table=0,priority=3,actions=drop\n",
		},
		{
			"other priority and table are other flows",
			flows("table=1,priority=1,ip,actions=drop"),
			flows("table=2,priority=1,ip,actions=drop", "table=1,priority=2,ip,actions=drop"),
			"flow delete_strict table=2,priority=1,ip\nflow delete_strict table=1,priority=2,ip\nflow add cookie=0x0,table=1,priority=1,ip,actions=drop\n",
		},
		{
			"the last of two desired counts",
			flows("priority=1,actions=output:1", "priority=1,actions=output:2", "priority=2,actions=drop", "priority=2,actions=output:3"),
			flows("priority=2,actions=drop"),
			"flow add cookie=0x0,table=0,priority=1,actions=output:2\nflow add cookie=0x0,table=0,priority=2,actions=output:3\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := Diff(slices.Values(c.desired), c.actual)
			if got := tr.String(); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			if tr.Empty() != (c.want == "") {
				t.Errorf("Empty() = %v", tr.Empty())
			}
		})
	}
}

func TestFlowOfLibraryTypesHasTheTextOfItsDump(t *testing.T) {
	mac := []byte{0, 0, 0, 0, 0, 1}
	f := &ovs.Flow{
		Cookie: 7, Table: 4, Priority: 100, Protocol: ovs.ProtocolTCPv6, InPort: 3,
		Matches: []ovs.Match{
			ovs.ConnectionTrackingState(ovs.SetState(ovs.CTStateTracked), ovs.UnsetState(ovs.CTStateEstablished)),
			ovs.IPv6Source("fd00::/64"), ovs.TransportDestinationPort(443), ovs.DataLinkSource("00:00:00:00:00:01"),
			ovs.FieldMatch("reg5", "0x10/0xf0"),
		},
		Actions: []ovs.Action{
			ovs.Load("0x1", "NXM_NX_REG0[]"), ovs.SetField("3", "reg1"), ovs.ModDataLinkDestination(mac),
			ovs.Move("NXM_NX_REG0[]", "NXM_NX_REG1[]"), ovs.ConnectionTracking("commit,zone=5"), ovs.Resubmit(0, 6), ovs.Output(3),
		},
	}
	want := "cookie=0x7,table=4,priority=100,tcp6,ct_state=-est+trk,dl_src=00:00:00:00:00:01,in_port=3,ipv6_src=fd00::/64,reg5=0x10/0xf0,tp_dst=443," +
		"actions=set_field:0x1->reg0,set_field:0x3->reg1,set_field:00:00:00:00:00:01->eth_dst,move:NXM_NX_REG0[]->NXM_NX_REG1[],ct(commit,zone=5),resubmit(,6),output:3"
	if got := Text(f); got != want {
		t.Errorf("Text\n got %s\nwant %s", got, want)
	}
	if got, want := Key(f), "table=4,priority=100,tcp6,ct_state=-est+trk,dl_src=00:00:00:00:00:01,in_port=3,ipv6_src=fd00::/64,reg5=0x10/0xf0,tp_dst=443"; got != want {
		t.Errorf("Key\n got %s\nwant %s", got, want)
	}
	b, _ := testBridge(t)
	if err := b.Commit(testContext(t), &Transaction{Add: []*ovs.Flow{f}}); err != nil {
		t.Fatal(err)
	}
	unchanged(t, b, f)
}
