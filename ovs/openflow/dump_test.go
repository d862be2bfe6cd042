package openflow

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

func TestDumpShowsNumbersWhereTablesAndPortsHaveNames(t *testing.T) {
	b, s := testBridge(t)
	sandboxtest.Run(t, s, "ovs-vsctl", "--db="+s.Endpoint(),
		"--", "--id=@t", "create", "Flow_Table", "name=Classifier", "--", "set", "bridge", bridgeName, "flow_tables:2=@t")
	f := parseFlow(t, "table=1,priority=3,in_port=1,actions=resubmit(,2),output:2,goto_table:2")
	if err := b.Commit(testContext(t), &Transaction{Add: []*ovs.Flow{f}}); err != nil {
		t.Fatal(err)
	}
	unchanged(t, b, f)
}

func TestErrorOfTheCallerEndsADump(t *testing.T) {
	b, _ := testBridge(t)
	tr := &Transaction{Add: []*ovs.Flow{parseFlow(t, "priority=1,actions=drop"), parseFlow(t, "priority=2,actions=drop")}}
	if err := b.Commit(testContext(t), tr); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	calls := 0
	err := b.EachFlow(testContext(t), DumpOptions{}, func(*ovs.Flow) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("error %v after %d calls", err, calls)
	}
}

func TestUnexpectedOutputIsAnError(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"line":    `echo "something else"`,
		"flow":    `echo " table=0, priority=1"`,
		"too big": `head -c 2000000 /dev/zero | tr '\0' x`,
	} {
		command := dir + "/" + strings.ReplaceAll(name, " ", "")
		if err := os.WriteFile(command, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		b, err := Open(Config{Target: "br0", Command: command})
		if err != nil {
			t.Fatal(err)
		}
		if flows, err := b.DumpFlows(testContext(t)); err == nil {
			t.Errorf("%s: %d flows and no error", name, len(flows))
		}
	}
}

func TestBadFlowTextIsRefused(t *testing.T) {
	for _, s := range []string{"", "ip", "priority=x,actions=drop", "priority=65536,actions=drop", "table=256,actions=drop", "cookie=z,actions=drop",
		"n_packets=-1,actions=drop", "reg0=,actions=drop", "a(b,actions=drop", "actions=ct(commit", "reg0=1\n,actions=drop", "=5,actions=drop", "%,actions=drop"} {
		if f, err := ParseFlow(s); err == nil {
			t.Errorf("ParseFlow(%q) = %s", s, Text(f))
		}
	}
}

func TestFlowIsParsedWithoutLoss(t *testing.T) {
	f := parseFlow(t, "cookie=0x1f, duration=8.5s, table=3, n_packets=7, n_bytes=420, idle_timeout=9, idle_age=1, send_flow_rem priority=5,tcp,reg1=0x1/0xf,in_port=LOCAL,nsh_spi=0x5 actions=ct(commit,exec(load:0x1->NXM_NX_CT_MARK[])),teleport(1,2)")
	if f.Cookie != 0x1f || f.Table != 3 || f.Priority != 5 || f.IdleTimeout != 9 || f.Protocol != "tcp" || f.InPort != ovs.PortLOCAL {
		t.Errorf("got %+v", f)
	}
	if f.Stats != (ovs.FlowStats{PacketCount: 7, ByteCount: 420}) {
		t.Errorf("stats %+v", f.Stats)
	}
	want := "cookie=0x1f,idle_timeout=9,send_flow_rem,table=3,priority=5,tcp,in_port=LOCAL,nsh_spi=0x5,reg1=0x1/0xf,actions=ct(commit,exec(set_field:0x1->ct_mark)),teleport(1,2)"
	if got := Text(f); got != want {
		t.Errorf("Text\n got %s\nwant %s", got, want)
	}
}
