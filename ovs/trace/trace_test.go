package trace

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/unixctl"
)

var tables = map[uint8]string{
	0: "Classifier", 1: "Conntrack", 2: "ConntrackState", 3: "Policy", 4: "Commit", 5: "Output", 10: "Marker",
}

// pipeline is a small policy pipeline: port 1 (10.0.0.1, fd00::1) may reach TCP
// 80, UDP 53 and SCTP 99 of port 2 (10.0.0.2, fd00::2), by conjunctions.
const pipeline = `
table=0,priority=100,cookie=0x11,in_port=1,ip,dl_src=0a:58:0a:00:00:01,nw_src=10.0.0.1,actions=load:1->NXM_NX_REG0[0..3],goto_table:1
table=0,priority=100,cookie=0x12,in_port=1,ipv6,ipv6_src=fd00::1,actions=load:1->NXM_NX_REG0[0..3],goto_table:1
table=0,priority=1,cookie=0x13,actions=drop
table=1,priority=10,ip,actions=ct(table=2,zone=65520)
table=1,priority=10,ipv6,actions=ct(table=2,zone=65521)
table=2,priority=30,ct_state=+est+trk,actions=goto_table:5
table=2,priority=30,ct_state=+inv+trk,actions=drop
table=2,priority=10,actions=resubmit(,10),resubmit(,3)
table=3,priority=20,cookie=0x1ff,conj_id=5,ip,actions=load:5->NXM_NX_REG5[],goto_table:4
table=3,priority=20,cookie=0x1ff,conj_id=5,ipv6,actions=load:5->NXM_NX_REG5[],goto_table:4
table=3,priority=20,ip,nw_src=10.0.0.1,actions=conjunction(5,1/2)
table=3,priority=20,ipv6,ipv6_src=fd00::1,actions=conjunction(5,1/2)
table=3,priority=20,tcp,tp_dst=80,actions=conjunction(5,2/2)
table=3,priority=20,udp,tp_dst=53,actions=conjunction(5,2/2)
table=3,priority=20,sctp,tp_dst=99,actions=conjunction(5,2/2)
table=3,priority=20,tcp6,tp_dst=80,actions=conjunction(5,2/2)
table=3,priority=20,udp6,tp_dst=53,actions=conjunction(5,2/2)
table=3,priority=20,sctp6,tp_dst=99,actions=conjunction(5,2/2)
table=3,priority=10,cookie=0x1de,tcp,tp_dst=81,actions=drop
table=4,priority=10,ip,actions=ct(commit,zone=65520,exec(move:NXM_NX_REG5[]->NXM_NX_CT_LABEL[0..31])),goto_table:5
table=4,priority=10,ipv6,actions=ct(commit,zone=65521,exec(move:NXM_NX_REG5[]->NXM_NX_CT_LABEL[0..31])),goto_table:5
table=5,priority=10,ip,nw_dst=10.0.0.2,actions=mod_dl_dst:0a:58:0a:00:00:02,dec_ttl,load:2->NXM_NX_REG1[0..15],output:NXM_NX_REG1[0..15]
table=5,priority=10,ipv6,ipv6_dst=fd00::2,actions=output:2
table=5,priority=10,ip,nw_dst=10.0.0.3,actions=clone(mod_nw_ttl:3,output:2),output:3,output:2
table=5,priority=10,ip,nw_dst=10.0.0.4,actions=output:1,output:77
table=5,priority=10,ip,nw_dst=10.0.0.5,actions=IN_PORT
table=5,priority=10,ip,nw_dst=10.0.0.6,actions=LOCAL
table=5,priority=10,ip,nw_dst=10.0.0.7,actions=NORMAL
table=5,priority=10,ip,nw_dst=10.0.0.8,actions=ct(commit,table=5,zone=65522,nat(dst=10.0.0.2))
table=5,priority=10,ip,nw_dst=10.0.0.9,actions=resubmit(,5)
table=5,priority=10,ip,nw_dst=10.0.0.10,actions=controller(reason=no_match,id=3)
table=5,priority=10,ip,nw_dst=10.0.0.11,actions=group:1
table=10,actions=load:1->NXM_NX_REG6[],resubmit(,11)
table=11,actions=load:2->NXM_NX_REG7[]
`

func startBridge(t *testing.T) *sandbox.Sandbox {
	s := sandboxtest.Start(t, sandbox.Dummy)
	addBridge(t, s)
	return s
}

func addBridge(t testing.TB, s *sandbox.Sandbox) {
	args := []string{"add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure",
		"protocols=OpenFlow10,OpenFlow13,OpenFlow15"}
	for _, n := range []string{"1", "2", "3"} {
		args = append(args, "--", "add-port", "br0", "p"+n, "--", "set", "interface", "p"+n, "type=dummy", "ofport_request="+n)
	}
	for n, name := range tables {
		id := "@t" + strconv.Itoa(int(n))
		args = append(args, "--", "--id="+id, "create", "flow_table", "name="+name,
			"--", "set", "bridge", "br0", "flow_tables:"+strconv.Itoa(int(n))+"="+id)
	}
	sandboxtest.Run(t, s, "ovs-vsctl", args...)
	sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow15", "add-group", "br0",
		"group_id=1,type=select,bucket=bucket_id=1,actions=output:2,bucket=bucket_id=2,actions=output:3")
	sandboxtest.RunInput(t, s, pipeline, "ovs-ofctl", "-O", "OpenFlow15", "--bundle", "add-flows", "br0", "-")
}

func packet(protocol uint8, dst string, dport uint16) Packet {
	p := Packet{InPort: 1, SrcMAC: net.HardwareAddr{0x0a, 0x58, 0x0a, 0, 0, 1}, DstMAC: net.HardwareAddr{0x0a, 0x58, 0, 0, 0, 0xff},
		Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr(dst), Protocol: protocol, SrcPort: 1000, DstPort: dport}
	if p.Dst.Is6() {
		p.Src = netip.MustParseAddr("fd00::1")
	}
	return p
}

// way returns the trace's tables, with "|" between passes.
func way(t *Trace) string {
	var names []string
	pass := 0
	for _, s := range t.Steps {
		for ; pass < s.Recirc; pass++ {
			names = append(names, "|")
		}
		name := s.TableName
		if name == "" {
			name = strconv.Itoa(int(s.Table))
		}
		if s.Miss {
			name += "(miss)"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func TestWayOfAPacket(t *testing.T) {
	const (
		first   = "Classifier Conntrack | ConntrackState "
		allowed = first + "Marker 11 Policy Commit Output"
		denied  = first + "Marker 11 Policy(miss)"
		known   = first + "Output"
	)
	est := []string{"trk,est"}
	spoofed := packet(tcp, "10.0.0.2", 80)
	spoofed.Src = netip.MustParseAddr("10.0.0.66")
	s := startBridge(t)
	for _, tc := range []struct {
		name   string
		packet Packet
		ctNext []string
		way    string
		final  Final
	}{
		{"allowed tcp", packet(tcp, "10.0.0.2", 80), nil, allowed, Final{Outputs: []uint32{2}}},
		{"allowed tcp, said to be new", packet(tcp, "10.0.0.2", 80), []string{"trk,new"}, allowed, Final{Outputs: []uint32{2}}},
		{"allowed udp", packet(udp, "10.0.0.2", 53), nil, allowed, Final{Outputs: []uint32{2}}},
		{"allowed sctp", packet(sctp, "10.0.0.2", 99), nil, allowed, Final{Outputs: []uint32{2}}},
		{"allowed tcp6", packet(tcp, "fd00::2", 80), nil, allowed, Final{Outputs: []uint32{2}}},
		{"allowed udp6", packet(udp, "fd00::2", 53), nil, allowed, Final{Outputs: []uint32{2}}},
		{"allowed sctp6", packet(sctp, "fd00::2", 99), nil, allowed, Final{Outputs: []uint32{2}}},
		{"tcp denied by no rule", packet(tcp, "10.0.0.2", 82), nil, denied, Final{Dropped: true}},
		{"tcp denied by a flow", packet(tcp, "10.0.0.2", 81), nil, first + "Marker 11 Policy", Final{Dropped: true}},
		{"udp denied", packet(udp, "10.0.0.2", 80), nil, denied, Final{Dropped: true}},
		{"sctp6 denied", packet(sctp, "fd00::2", 80), nil, denied, Final{Dropped: true}},
		{"icmp denied", packet(icmp, "10.0.0.2", 0), nil, denied, Final{Dropped: true}},
		{"icmp6 denied", packet(icmpv6, "fd00::2", 0), nil, denied, Final{Dropped: true}},
		{"another protocol denied", packet(47, "10.0.0.2", 0), nil, denied, Final{Dropped: true}},
		{"another protocol over IPv6 denied", packet(47, "fd00::2", 0), nil, denied, Final{Dropped: true}},
		{"established icmp", packet(icmp, "10.0.0.2", 0), est, known, Final{Outputs: []uint32{2}}},
		{"established icmp6", packet(icmpv6, "fd00::2", 0), est, known, Final{Outputs: []uint32{2}}},
		{"invalid", packet(tcp, "10.0.0.2", 80), []string{"trk,inv"}, first[:len(first)-1], Final{Dropped: true}},
		{"spoofed", spoofed, nil, "Classifier", Final{Dropped: true}},
		{"several outputs, one of a clone", packet(tcp, "10.0.0.3", 80), est, known, Final{Outputs: []uint32{2, 3}}},
		{"outputs that do not happen", packet(tcp, "10.0.0.4", 80), est, known, Final{Dropped: true}},
		{"back to the input port", packet(tcp, "10.0.0.5", 80), est, known, Final{Outputs: []uint32{1}}},
		{"local port", packet(tcp, "10.0.0.6", 80), est, known, Final{Outputs: []uint32{Local}}},
		{"ports that a flow does not name", packet(tcp, "10.0.0.7", 80), est, known, Final{}},
		{"NAT, a third pass", packet(tcp, "10.0.0.8", 80), est, known + " | Output", Final{Outputs: []uint32{2}}},
		{"to a controller", packet(tcp, "10.0.0.10", 80), est, known, Final{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Run(t.Context(), s.Vswitchd(), "br0", tc.packet, Options{CTNext: tc.ctNext, Tables: tables})
			if err != nil {
				t.Fatal(err)
			}
			if got := way(got); got != tc.way {
				t.Errorf("way  %s\nwant %s", got, tc.way)
			}
			if diff := cmp.Diff(tc.final, got.Final); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if len(got.Errors) > 0 {
				t.Errorf("errors: %q", got.Errors)
			}
			if t.Failed() {
				t.Log(got.Raw)
			}
		})
	}
}

func TestStepsSayWhichFlowMatched(t *testing.T) {
	s := startBridge(t)
	got, err := Run(t.Context(), s.Vswitchd(), "br0", packet(tcp, "10.0.0.2", 80), Options{Tables: tables})
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{
		{Bridge: "br0", Table: 0, TableName: "Classifier", Priority: 100, Cookie: 0x11,
			Match:   "ip,in_port=1,dl_src=0a:58:0a:00:00:01,nw_src=10.0.0.1",
			Actions: []string{"set_field:0x1/0xf->reg0", "goto_table:1"}},
		{Bridge: "br0", Table: 1, TableName: "Conntrack", Priority: 10, Match: "ip",
			Actions: []string{"ct(table=2,zone=65520)"},
			Notes: []string{"A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table 2.",
				"Sets the packet to an untracked state, and clears all the conntrack fields."}},
		{Bridge: "br0", Recirc: 1, Table: 2, TableName: "ConntrackState", Priority: 10, Actions: []string{"resubmit(,10)", "resubmit(,3)"}},
		{Bridge: "br0", Recirc: 1, Table: 10, TableName: "Marker", Priority: 32768, Actions: []string{"set_field:0x1->reg6", "resubmit(,11)"}},
		{Bridge: "br0", Recirc: 1, Table: 11, Priority: 32768, Actions: []string{"set_field:0x2->reg7"}},
		{Bridge: "br0", Recirc: 1, Table: 3, TableName: "Policy", Priority: 20, Cookie: 0x1ff, Match: "conj_id=5,ip",
			Actions: []string{"set_field:0x5->reg5", "goto_table:4"}},
		{Bridge: "br0", Recirc: 1, Table: 4, TableName: "Commit", Priority: 10, Match: "ip",
			Actions: []string{"ct(commit,zone=65520,exec(move:NXM_NX_REG5[]->NXM_NX_CT_LABEL[0..31]))",
				"move:NXM_NX_REG5[]->NXM_NX_CT_LABEL[0..31]", "goto_table:5"},
			Notes: []string{"NXM_NX_CT_LABEL[0..31] is now 0x5", "Sets the packet to an untracked state, and clears all the conntrack fields."}},
		{Bridge: "br0", Recirc: 1, Table: 5, TableName: "Output", Priority: 10, Match: "ip,nw_dst=10.0.0.2",
			Actions: []string{"set_field:0a:58:0a:00:00:02->eth_dst", "dec_ttl", "set_field:0x2/0xffff->reg1", "output:NXM_NX_REG1[0..15]"},
			Notes:   []string{"output port is 2"}},
	}
	if diff := cmp.Diff(want, got.Steps); diff != "" {
		t.Errorf("-want +got\n%s\n%s", diff, got.Raw)
	}
	if got.Last() != &got.Steps[len(got.Steps)-1] || got.Last().TableName != "Output" {
		t.Errorf("last step %+v", got.Last())
	}
	if len(got.Passes) != 2 || got.Passes[1].RecircID == 0 || !strings.Contains(got.Passes[1].Reason, "ct_state=trk|new") {
		t.Errorf("passes %+v", got.Passes)
	}
	for name, texts := range map[string][2]string{
		"flow":             {got.Passes[1].Flow, "ct_state=new|trk,ct_zone=65520"},
		"final flow":       {got.FinalFlow, "nw_ttl=63"},
		"megaflow":         {got.Megaflow, "tp_dst=80"},
		"datapath actions": {got.DatapathActions, "ct(commit,zone=65520"},
	} {
		if !strings.Contains(texts[0], texts[1]) {
			t.Errorf("%s is %q, want %q in it", name, texts[0], texts[1])
		}
	}
}

func TestRecursionIsAnError(t *testing.T) {
	s := startBridge(t)
	got, err := Run(t.Context(), s.Vswitchd(), "br0", packet(tcp, "10.0.0.9", 80), Options{CTNext: []string{"trk,est"}})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Dropped || len(got.Errors) == 0 || !strings.Contains(got.Errors[0], "over max translation depth") {
		t.Errorf("dropped %v, errors %q", got.Dropped, got.Errors)
	}
}

func TestTraceOfAnARPRequest(t *testing.T) {
	s := startBridge(t)
	got, err := RunFlow(t.Context(), s.Vswitchd(), "br0", "in_port=2,arp,arp_op=1,arp_tpa=10.0.0.1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if way(got) != "0" || got.Steps[0].Cookie != 0x13 || got.Steps[0].Match != "" || !got.Dropped || !slices.Equal(got.Steps[0].Actions, []string{"drop"}) {
		t.Errorf("%+v", got.Steps)
	}
}

func TestErrorsNameWhatIsWrong(t *testing.T) {
	s := startBridge(t)
	good := packet(tcp, "10.0.0.2", 80)
	mixed, unset, alien, extra := good, good, good, good
	mixed.Dst = netip.MustParseAddr("fd00::2")
	unset.Src = netip.Addr{}
	alien.Protocol = icmpv6
	extra.Extra = "no_such_field=1"
	for _, tc := range []struct {
		name, bridge string
		packet       Packet
		ctNext       []string
		want         string
		refused      bool
	}{
		{"bridge", "br9", good, nil, "br9: unknown bridge", true},
		{"ct_state", "br0", good, []string{"trk,maybe"}, "maybe: unknown connection tracking state flag", true},
		{"field", "br0", extra, nil, "no_such_field", true},
		{"families", "br0", mixed, nil, "source 10.0.0.1 and destination fd00::2 are of different families", false},
		{"source", "br0", unset, nil, "no source address", false},
		{"protocol", "br0", alien, nil, "protocol 58 is of another family", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Run(t.Context(), s.Vswitchd(), tc.bridge, tc.packet, Options{CTNext: tc.ctNext})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			var refused *unixctl.CommandError
			if errors.As(err, &refused) != tc.refused {
				t.Errorf("error is from ovs-vswitchd: %v, want %v", !tc.refused, tc.refused)
			}
		})
	}
}

func TestPacketInTheSyntaxOfFlows(t *testing.T) {
	with := func(p Packet, change func(*Packet)) Packet { change(&p); return p }
	for want, p := range map[string]Packet{
		"tcp,in_port=1,dl_src=0a:58:0a:00:00:01,dl_dst=0a:58:00:00:00:ff,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,tcp_src=1000,tcp_dst=80,tcp_flags=0x2": with(packet(tcp, "10.0.0.2", 80), func(p *Packet) { p.TCPFlags = 2 }),
		"sctp6,in_port=1,dl_src=0a:58:0a:00:00:01,dl_dst=0a:58:00:00:00:ff,ipv6_src=fd00::1,ipv6_dst=fd00::2,nw_ttl=64,sctp_src=1000,sctp_dst=99":         packet(sctp, "fd00::2", 99),
		"icmp,in_port=1,dl_src=0a:58:0a:00:00:01,dl_dst=0a:58:00:00:00:ff,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,icmp_type=8,icmp_code=0":              packet(icmp, "10.0.0.2", 0),
		"icmp6,in_port=1,dl_src=0a:58:0a:00:00:01,dl_dst=0a:58:00:00:00:ff,ipv6_src=fd00::1,ipv6_dst=fd00::2,nw_ttl=255,icmpv6_type=135,icmpv6_code=0,nd_target=fd00::2": with(packet(icmpv6, "fd00::2", 0), func(p *Packet) {
			p.TTL, p.ICMP, p.Extra = 255, &ICMP{Type: 135}, "nd_target=fd00::2"
		}),
		"ipv6,nw_proto=47,in_port=1,ipv6_src=fd00::1,ipv6_dst=fd00::2,nw_ttl=64": with(packet(47, "fd00::2", 0), func(p *Packet) { p.SrcMAC, p.DstMAC = nil, nil }),
	} {
		if got := p.Flow(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestParseRefusesWhatIsNoTrace(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":              "",
		"something else":       "ovs-vswitchd (Open vSwitch) 3.1.0\n",
		"cut off in a pass":    "Flow: ip\n\nbridge(\"br0\")\n-------------\n 0. ip, priority 10\n",
		"cut off in a heading": "Flow: ip\nDatapath actions: recirc(0x1)\n\n====\nrecirc(0x1) - resume conntrack\n",
		"table out of range":   "Flow: ip\n999. priority 0\nDatapath actions: drop\n",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSlowPathIsANoteOfThePass(t *testing.T) {
	got, err := Parse(`Flow: udp,in_port=1

bridge("br0")
-------------
 0. udp, priority 10
    controller(reason=no_match,id=3)

Final flow: unchanged
Megaflow: recirc_id=0,eth,udp,in_port=1,nw_frag=no
Datapath actions: userspace(pid=0,controller(reason=0))

This flow is handled by the userspace slow path because it:
  - Uses action(s) not supported by datapath.
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"This flow is handled by the userspace slow path because it:", "- Uses action(s) not supported by datapath."}
	if diff := cmp.Diff(want, got.Passes[0].Notes); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got.Dropped || got.FinalFlow != "udp,in_port=1" {
		t.Errorf("dropped %v, final flow %q", got.Dropped, got.FinalFlow)
	}
}

// FuzzParse begins with real answers of ovs-vswitchd 3.1.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		trace, err := Parse(text)
		if err != nil {
			return
		}
		if trace.Dropped && len(trace.Outputs) > 0 {
			t.Errorf("dropped, but output to %v", trace.Outputs)
		}
		for _, s := range trace.Steps {
			if s.Recirc < 0 || s.Recirc >= len(trace.Passes) {
				t.Errorf("step of pass %d among %d", s.Recirc, len(trace.Passes))
			}
		}
	})
}
