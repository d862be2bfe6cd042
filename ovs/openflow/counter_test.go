package openflow

import (
	"fmt"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/ovs/sandbox"
)

// ping is a packet to port 2 in the words of netdev-dummy/receive.
const ping = "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800)," +
	"ipv4(src=10.0.0.1,dst=10.0.0.2,proto=1,tos=0,ttl=64,frag=no),icmp(type=8,code=0)"

// receive lets p1 receive pings, each counted when it returns.
func receive(t *testing.T, s *sandbox.Sandbox, pings int) {
	t.Helper()
	for range pings {
		if _, err := s.Vswitchd().Call(testContext(t), "netdev-dummy/receive", "p1", ping); err != nil {
			t.Fatal(err)
		}
	}
	// What the datapath's cache has counted is told when it is emptied.
	if _, err := s.Vswitchd().Call(testContext(t), "revalidator/purge"); err != nil {
		t.Fatal(err)
	}
}

func TestCountersAreToldByTableAndCookie(t *testing.T) {
	native, ofctl, s := nativeBridge(t)
	if err := native.Commit(testContext(t), &Transaction{Add: []*ovs.Flow{
		parseFlow(t, "cookie=0x10001,table=0,priority=1,ip,actions=conjunction(7,1/2)"),
		parseFlow(t, "cookie=0x10001,table=0,priority=1,in_port=1,actions=conjunction(7,2/2)"),
		parseFlow(t, "cookie=0x20001,table=0,priority=1,conj_id=7,actions=goto_table:1"),
		parseFlow(t, "cookie=0x20002,table=1,priority=1,actions=drop"),
	}}); err != nil {
		t.Fatal(err)
	}
	receive(t, s, 3)
	for name, b := range map[string]*Bridge{"native": native, "ofctl": ofctl} {
		counted := func(q ...CounterQuery) string {
			t.Helper()
			text := ""
			if err := b.EachCounter(testContext(t), q, func(c Counter) {
				text += fmt.Sprintf("%d:%x conj_id=%d packets=%d bytes=%d;", c.Table, c.Cookie, c.ConjID, c.Packets, c.Bytes)
			}); err != nil {
				t.Fatal(err)
			}
			return text
		}
		const rule, drop = "0:20001 conj_id=7 packets=3 bytes=318;", "1:20002 conj_id=0 packets=3 bytes=318;"
		for _, c := range []struct {
			queries []CounterQuery
			want    string
		}{
			{[]CounterQuery{{Table: 0, Cookie: 0x20000, Mask: 0xffff0000}}, rule},
			{[]CounterQuery{{Table: AllTables, Cookie: 0x20002, Mask: ^uint64(0)}}, drop},
			{[]CounterQuery{{Table: 1, Cookie: 0x20000, Mask: 0xffff0000}, {Table: 0, Cookie: 0x20001, Mask: ^uint64(0)}}, drop + rule},
			{[]CounterQuery{{Table: 2, Cookie: 0, Mask: 0}}, ""},
		} {
			if got := counted(c.queries...); got != c.want {
				t.Errorf("%s: %+v counted %q, want %q", name, c.queries, got, c.want)
			}
		}
	}
	tables, err := native.FlowsByTable(testContext(t))
	if err != nil || fmt.Sprint(tables) != "map[0:3 1:1]" {
		t.Errorf("flows by table %v, %v; want 3 in table 0 and 1 in table 1", tables, err)
	}
}

// What a collector of counters has to know of the switch: see EachCounter.
func TestAReplacedFlowGoesOnCountingAndOneThatWasDeletedDoesNot(t *testing.T) {
	native, _, s := nativeBridge(t)
	var packets uint64
	count := func(cookie uint64) uint64 {
		t.Helper()
		packets = 0
		if err := native.EachCounter(testContext(t), []CounterQuery{{Cookie: cookie, Mask: ^uint64(0)}}, func(c Counter) { packets += c.Packets }); err != nil {
			t.Fatal(err)
		}
		return packets
	}
	commit := func(tr *Transaction) {
		t.Helper()
		if err := native.Commit(testContext(t), tr); err != nil {
			t.Fatal(err)
		}
	}
	first, second := parseFlow(t, "cookie=1,table=0,priority=1,ip,actions=drop"), parseFlow(t, "cookie=2,table=0,priority=1,ip,actions=output:2")
	commit(&Transaction{Add: []*ovs.Flow{first}})
	receive(t, s, 2)
	commit(&Transaction{Add: []*ovs.Flow{second}})
	if n := count(2); n != 2 {
		t.Errorf("a flow with another cookie and actions has counted %d packets, want the 2 of the one it replaces", n)
	}
	receive(t, s, 1)
	commit(&Transaction{Delete: []*ovs.Flow{second}, Add: []*ovs.Flow{second}})
	if n := count(2); n != 0 {
		t.Errorf("a flow that was deleted and added in one bundle has counted %d packets, want none", n)
	}
}
