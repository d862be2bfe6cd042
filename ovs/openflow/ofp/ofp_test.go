package ofp

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/test/need"
)

func field(t testing.TB, name string) *Field {
	t.Helper()
	f := FieldNamed(name)
	if f == nil {
		t.Fatalf("no field %s", name)
	}
	return f
}

// messages are one of each kind of message, and what `ovs-ofctl ofp-print` says
// of them.
func messages(t testing.TB) []struct {
	m    Message
	want string
} {
	reg := func(n int) *Field { return field(t, fmt.Sprintf("NXM_NX_REG%d", n)) }
	match := Match{
		{Field: field(t, "OXM_OF_ETH_TYPE"), Value: Value{Lo: 0x86dd}},
		{Field: field(t, "OXM_OF_IP_PROTO"), Value: Value{Lo: 6}},
		{Field: field(t, "OXM_OF_IPV6_DST"), Value: Value{0xfd00 << 48, 0}, Mask: Value{^uint64(0), 0}, Masked: true},
		{Field: reg(3), Value: Value{Lo: 5}, Mask: Value{Lo: 0xff}, Masked: true},
	}
	actions := []Action{
		SetField{OXM{Field: reg(1), Value: Value{Lo: 7}}},
		CopyField{Subfield{reg(1), 4, 8}, Subfield{reg(2), 0, 8}},
		CT{Commit: true, Zone: 65521, Table: 9, Actions: []Action{
			NAT{Src: true, Min: netip.MustParseAddr("fd00::1"), Max: netip.MustParseAddr("fd00::9"), MinPort: 80, Random: true},
			SetField{OXM{Field: field(t, "NXM_NX_CT_MARK"), Value: Value{Lo: 3}}},
		}},
		CT{Table: NoTable, ZoneFrom: Subfield{reg(5), 0, 16}, ALG: 21, Force: true, Commit: true, Actions: []Action{NAT{}}},
		Controller{MaxLen: 128, ID: 3, Reason: ReasonTableMiss, UserData: []byte{1, 2, 0xff}, Pause: true, Meter: 6},
		Resubmit{Port: ResubmitInPort, Table: 4}, Resubmit{Port: 3, Table: CurrentTable},
		OutputField{Subfield{reg(1), 0, 32}, 65535}, Output{Port: 5}, Output{Port: PortInPort}, Group{9}, SetQueue{2}, DecTTL{},
		Note{[]byte{1, 2, 3, 4, 5, 6}}, Clone{[]Action{Output{Port: 6}}}, CTClear{},
		Learn{
			Table: 4, Priority: 100, Cookie: 0x1f, IdleTimeout: 10800, HardTimeout: 7, FinIdleTimeout: 3, FinHardTimeout: 4, SendFlowRem: true, DeleteLearned: true,
			Specs: []LearnSpec{
				{Dst: Subfield{field(t, "OXM_OF_ETH_TYPE"), 0, 16}, Value: Value{Lo: 0x86dd}},
				{Dst: Subfield{field(t, "OXM_OF_IPV6_DST"), 0, 128}, Value: Value{0xfd00 << 48, 1}},
				{Dst: Subfield{field(t, "OXM_OF_IPV6_SRC"), 0, 128}, Src: Subfield{field(t, "OXM_OF_IPV6_SRC"), 0, 128}},
				{Dst: Subfield{reg(3), 0, 4}, Src: Subfield{reg(4), 8, 4}},
				{Kind: LearnLoad, Dst: Subfield{reg(12), 0, 32}, Value: Value{Lo: 0x102}},
				{Kind: LearnLoad, Dst: Subfield{reg(5), 4, 4}, Src: Subfield{reg(4), 0, 4}},
				{Kind: LearnOutput, Src: Subfield{reg(1), 0, 32}},
			},
		},
		CheckPktLarger{1500, Subfield{reg(0), 3, 1}}, Push{Subfield{reg(1), 0, 32}}, Pop{Subfield{reg(1), 0, 4}}, Exit{},
	}
	text := "set_field:0x7->reg1,move:NXM_NX_REG1[4..11]->NXM_NX_REG2[0..7]," +
		"ct(commit,table=9,zone=65521,nat(src=[fd00::1]-[fd00::9]:80,random),exec(set_field:0x3->ct_mark))," +
		"ct(commit,force,zone=NXM_NX_REG5[0..15],nat,alg=ftp)," +
		"controller(reason=no_match,max_len=128,id=3,userdata=01.02.ff,pause,meter_id=6),resubmit(,4),resubmit:3," +
		"output:NXM_NX_REG1[],output:5,IN_PORT,group:9,set_queue:2,dec_ttl,note:01.02.03.04.05.06,clone(output:6),ct_clear," +
		"learn(table=4,idle_timeout=10800,hard_timeout=7,fin_idle_timeout=3,fin_hard_timeout=4,priority=100,send_flow_rem,delete_learned,cookie=0x1f," +
		"eth_type=0x86dd,ipv6_dst=fd00::1,NXM_NX_IPV6_SRC[],NXM_NX_REG3[0..3]=NXM_NX_REG4[8..11],load:0x102->NXM_NX_REG12[]," +
		"load:NXM_NX_REG4[0..3]->NXM_NX_REG5[4..7],output:NXM_NX_REG1[])," +
		"check_pkt_larger(1500)->NXM_NX_REG0[3],push:NXM_NX_REG1[],pop:NXM_NX_REG1[0..3],exit"
	mod := &FlowMod{
		Cookie: 0x1f, Table: 2, Priority: 77, IdleTimeout: 60, HardTimeout: 300, Flags: FlagSendFlowRem | FlagCheckOverlap, Importance: 3,
		Match: match, Instructions: Instructions{Apply: actions, Metadata: 5, MetadataMask: 0xff, Goto: 8},
	}
	modText := "ADD table:2 priority=77,tcp6,reg3=0x5/0xff,ipv6_dst=fd00::/64 cookie:0x1f idle:60 hard:300 importance:3 send_flow_rem check_overlap actions=" +
		text + ",write_metadata:0x5/0xff,goto_table:8"
	group := GroupDesc{
		Type: GroupSelect, ID: 3,
		Buckets: []Bucket{{ID: 1, Weight: 5, HasWeight: true, WatchPort: PortAny, WatchGroup: NoGroup, Actions: []Action{Output{Port: 1}}}},
		Selection: &Selection{Method: "hash", Param: 7, Fields: Match{
			{Field: field(t, "OXM_OF_IPV4_SRC"), Value: Value{Lo: 0xffffffff}}, {Field: field(t, "OXM_OF_TCP_DST"), Value: Value{Lo: 0xff00}},
		}},
	}
	groupText := "group_id=3,type=select,selection_method=hash,selection_method_param=7,fields(ip_src,tcp_dst=65280),bucket=bucket_id:1,weight:5,actions=output:1"
	failover := GroupDesc{Type: GroupFastFailover, ID: 8, Buckets: []Bucket{
		{ID: 0, WatchPort: 1, WatchGroup: NoGroup, Actions: []Action{Output{Port: 1}}}, {ID: 1, WatchPort: PortAny, WatchGroup: 3},
	}}
	full := &FlowMod{Table: 1, Command: FlowDeleteStrict, Priority: 5, Match: match}
	failed, err := Append(nil, 9, full)
	if err != nil {
		t.Fatal(err)
	}
	packet := []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 8, 6, 0, 1}
	metadata := Match{{Field: field(t, "OXM_OF_IN_PORT"), Value: Value{Lo: 1}}, {Field: field(t, "OXM_OF_METADATA"), Value: Value{Lo: 5}}}
	return []struct {
		m    Message
		want string
	}{
		{Hello{Versions: 1 << Version}, "OFPT_HELLO (OF1.5) (xid=0x7):\n version bitmap: 0x06"},
		{&Error{ErrType: 5, Code: 1, Data: failed}, "OFPT_ERROR (OF1.5) (xid=0x7): OFPFMFC_TABLE_FULL\nOFPT_FLOW_MOD (OF1.5) (xid=0x9): DEL_STRICT table:1 priority=5"},
		{&Error{ErrType: errExperimenter, Code: 15, Experimenter: nicira, Data: failed}, "NXBAC_BAD_CONJUNCTION"},
		{EchoRequest{[]byte("abc")}, "OFPT_ECHO_REQUEST (OF1.5) (xid=0x7): 3 bytes of payload"},
		{EchoReply{[]byte("abc")}, "OFPT_ECHO_REPLY (OF1.5) (xid=0x7): 3 bytes of payload"},
		{FeaturesRequest{}, "OFPT_FEATURES_REQUEST (OF1.5) (xid=0x7):"},
		{Features{DatapathID: 0xa5800000001, Buffers: 0, Tables: 254, Capabilities: 0x4f}, "dpid:00000a5800000001\nn_tables:254, n_buffers:0"},
		{SetConfig{MissSendLen: 65535}, "OFPT_SET_CONFIG (OF1.5) (xid=0x7): frags=normal miss_send_len=65535"},
		{mod, modText},
		{full, "DEL_STRICT table:1 priority=5,tcp6,reg3=0x5/0xff,ipv6_dst=fd00::/64 actions=drop"},
		{&GroupMod{Command: GroupAddOrModify, GroupDesc: group, Bucket: BucketAll}, "ADD_OR_MOD " + groupText},
		{&GroupMod{Command: GroupAdd, GroupDesc: failover, Bucket: BucketAll}, "ADD group_id=8,type=ff,bucket=bucket_id:0,watch_port:1,actions=output:1,bucket=bucket_id:1,watch_group:3,actions=drop"},
		{&GroupMod{Command: GroupRemoveBucket, GroupDesc: GroupDesc{ID: 3}, Bucket: 1}, "REMOVE_BUCKET command_bucket_id:1,group_id=3"},
		{&FlowRequest{Table: 2, Cookie: 5, CookieMask: 0xf, Match: match}, "OFPST_FLOW request (OF1.5) (xid=0x7): table=2 tcp6,reg3=0x5/0xff,ipv6_dst=fd00::/64"},
		{&FlowReply{More: true, Flows: []FlowDesc{{
			Table: 2, Priority: 77, IdleTimeout: 60, Cookie: 0x1f, Match: match, Importance: 3, Flags: FlagSendFlowRem,
			Stats:        FlowStats{Duration: 90*time.Second + 500*time.Millisecond, Idle: 4 * time.Second, Packets: 3, Bytes: 250},
			Instructions: Instructions{Apply: actions[:2], Clear: true, Write: actions[8:9], HasWrite: true, Goto: 8},
		}}}, "cookie=0x1f, duration=90.500s, table=2, n_packets=3, n_bytes=250, idle_timeout=60, send_flow_rem importance=3, idle_age=4, priority=77,tcp6,reg3=0x5/0xff,ipv6_dst=fd00::/64 actions=" +
			"set_field:0x7->reg1,move:NXM_NX_REG1[4..11]->NXM_NX_REG2[0..7],clear_actions,write_actions(output:5),goto_table:8"},
		{TableRequest{}, "OFPST_TABLE request (OF1.5) (xid=0x7):"},
		{&TableReply{Tables: []TableStats{{Table: 4, Active: 5, Lookups: 7, Matched: 6}}}, "active=5, lookup=7, matched=6"},
		{&AggregateRequest{Table: 2, Cookie: 5, CookieMask: 0xf, Match: match}, "OFPST_AGGREGATE request (OF1.5) (xid=0x7): table=2 tcp6,reg3=0x5/0xff,ipv6_dst=fd00::/64"},
		{&AggregateReply{Packets: 3, Bytes: 250, Flows: 2}, "OFPST_AGGREGATE reply (OF1.5) (xid=0x7): packet_count=3 byte_count=250 flow_count=2"},
		{GroupRequest{Group: AllGroups}, "OFPST_GROUP_DESC request (OF1.5) (xid=0x7):"},
		{&GroupReply{Groups: []GroupDesc{group, failover}}, groupText},
		{BarrierRequest{}, "OFPT_BARRIER_REQUEST (OF1.5) (xid=0x7):"},
		{BarrierReply{}, "OFPT_BARRIER_REPLY (OF1.5) (xid=0x7):"},
		{BundleControl{Bundle: 4, Command: BundleCommit, Flags: BundleAtomic | BundleOrdered}, "bundle_id=0x4 type=COMMIT_REQUEST flags=atomic ordered"},
		{BundleAdd{Bundle: 4, Flags: BundleAtomic | BundleOrdered, Message: mod}, "bundle_id=0x4 flags=atomic ordered\nOFPT_FLOW_MOD (OF1.5) (xid=0x7): " + modText},
		{&PacketOut{Match: metadata, Actions: []Action{Output{Port: 1}}, Packet: packet}, "metadata=0x5,in_port=1 actions=output:1 data_len=16"},
		{&PacketIn{
			Packet: packet, TotalLen: 16, Table: 6, Cookie: 0x1f, Reason: ReasonApplyAction, UserData: []byte{1, 2, 3},
			Metadata: Match{{Field: reg(3), Value: Value{Lo: 7}}, metadata[0]},
		}, "NXT_PACKET_IN2 (OF1.5) (xid=0x7): table_id=6 cookie=0x1f total_len=16 reg3=0x7,in_port=1 (via action) data_len=16 (unbuffered)\n userdata=01.02.03"},
		{MeterMod{MeterAdd, MeterConfig{ID: 5, Rate: 100, Burst: 50}}, "ADD meter=5 pktps burst stats bands=\ntype=drop rate=100 burst_size=50"},
		{MeterMod{MeterDelete, MeterConfig{ID: 5}}, "DEL meter=5"},
		{MeterRequest{Meter: AllMeters}, "OFPST_METER_CONFIG request (OF1.5) (xid=0x7): meter=all"},
		{&MeterReply{Meters: []MeterConfig{{ID: 5, Rate: 100, Burst: 50}, {ID: 6, Rate: 1, Burst: 1}}, More: true}, "meter=6 pktps burst stats bands=\ntype=drop rate=1 burst_size=1"},
		{SetPacketInFormat{PacketInWithUserData}, "NXT_SET_PACKET_IN_FORMAT (OF1.5) (xid=0x7): format=nxt_packet_in2"},
	}
}

func print(t *testing.T, wire []byte) string {
	t.Helper()
	path := need.Tool(t, "ovs-ofctl", "apt-get install openvswitch-switch")
	out, err := exec.Command(path, "--no-names", "ofp-print", fmt.Sprintf("%x", wire), "3").CombinedOutput()
	if err != nil {
		t.Fatalf("ofp-print: %v\n%s", err, out)
	}
	return string(out)
}

func TestOvsOfctlReadsEachMessageAsItIsMeant(t *testing.T) {
	for _, c := range messages(t) {
		wire, err := Append(nil, 7, c.m)
		if err != nil {
			t.Fatal(err)
		}
		if got := print(t, wire); !strings.Contains(got, c.want) {
			t.Errorf("%T\n got %s\nwant %s\nwire %x", c.m, got, c.want, wire)
		}
	}
}

func TestEachMessageIsReadAsItWasWritten(t *testing.T) {
	for _, c := range messages(t) {
		wire, err := Append([]byte("before"), 7, c.m)
		if err != nil {
			t.Fatal(err)
		}
		wire = wire[len("before"):]
		h, m, err := Parse(wire)
		if err != nil {
			t.Errorf("%T: %v", c.m, err)
			continue
		}
		if h.XID != 7 || h.Version != Version || int(h.Length) != len(wire) || h.Type != c.m.Type() {
			t.Errorf("%T: header %+v", c.m, h)
		}
		if !reflect.DeepEqual(m, c.m) {
			t.Errorf("read\n got %+v\nwant %+v", m, c.m)
		}
		// No part of a message is one.
		for n := range wire {
			if _, _, err := Parse(wire[:n]); err == nil {
				t.Errorf("%T of which %d of %d bytes were read", c.m, n, len(wire))
			}
		}
		got, err := Read(bytes.NewReader(append(wire, "after"...)), nil)
		if err != nil || !bytes.Equal(got, wire) {
			t.Errorf("Read: %x, %v", got, err)
		}
	}
}

// The names of all errors are those of ovs-ofctl, and no other error has one.
func TestErrorsHaveTheNamesOfOvsOfctl(t *testing.T) {
	var errors []*Error
	data := []byte{Version, 20, 0, 8, 0, 0, 0, 1}
	for kind := range uint16(20) {
		for code := range uint16(24) {
			errors = append(errors, &Error{ErrType: kind, Code: code, Data: data})
		}
	}
	for code := range uint16(64) {
		errors = append(errors, &Error{ErrType: errExperimenter, Code: code, Experimenter: nicira, Data: data})
	}
	var stream []byte
	for i, e := range errors {
		var err error
		if stream, err = Append(stream, uint32(i+1), e); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "messages")
	if err := os.WriteFile(file, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	path := need.Tool(t, "ovs-ofctl", "apt-get install openvswitch-switch")
	out, err := exec.Command(path, "ofp-parse", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for i, e := range errors {
		_, want, ok := strings.Cut(string(out), fmt.Sprintf("OFPT_ERROR (OF1.5) (xid=0x%x): ", i+1))
		want, _, _ = strings.Cut(want, "\n")
		switch got := e.String(); {
		case !ok:
			t.Fatalf("ovs-ofctl does not show message %d", i)
		case strings.HasPrefix(want, "***"): // not one that it knows
			if strings.HasPrefix(got, "OFP") || strings.HasPrefix(got, "NX") {
				t.Errorf("type %d code %d: %q, ovs-ofctl knows none", e.ErrType, e.Code, got)
			}
		default:
			named++
			if got != want {
				t.Errorf("type %d code %d: %q, ovs-ofctl says %q", e.ErrType, e.Code, got, want)
			}
		}
	}
	if named != len(errorNames) {
		t.Errorf("ovs-ofctl names %d, this package %d", named, len(errorNames))
	}
}

func TestWhatIsTooLongIsRefused(t *testing.T) {
	long := &FlowMod{}
	for range 4096 {
		long.Instructions.Apply = append(long.Instructions.Apply, Conjunction{ID: 1, Clauses: 2})
	}
	if b, err := Append([]byte("x"), 1, long); err == nil || string(b) != "x" {
		t.Errorf("%d bytes, error %v", len(b), err)
	}
	if _, err := Append(nil, 1, BundleAdd{Message: &PacketOut{Packet: make([]byte, MaxLen-39)}}); err == nil {
		t.Error("bundle of a message that does not fit: no error")
	}
	g := &GroupMod{}
	for range 5000 {
		g.Buckets = append(g.Buckets, Bucket{WatchPort: PortAny, WatchGroup: NoGroup, Actions: []Action{Output{}}})
	}
	if _, err := Append(nil, 1, g); err == nil {
		t.Error("group that does not fit: no error")
	}
}

// What is read is written as it was, and nothing panics.
func FuzzParse(f *testing.F) {
	for _, c := range messages(f) {
		wire, err := Append(nil, 7, c.m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > MaxLen {
			return
		}
		h, m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Append(nil, h.XID, m)
		if err != nil {
			return // what was read with less padding, and grew
		}
		if h.Type == TypePacketIn {
			return // written in the other form
		}
		h2, m2, err := Parse(again)
		if err != nil || h2.XID != h.XID {
			t.Fatalf("written again %x does not parse: %v", again, err)
		}
		third, err := Append(nil, h.XID, m2)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("written\n once %x\ntwice %x: %v", again, third, err)
		}
	})
}
