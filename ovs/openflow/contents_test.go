package openflow

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// synTo returns a TCP segment that opens a connection.
func synTo(t *testing.T, src, dst string, port layers.TCPPort) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
	tcp := &layers.TCP{SrcPort: 40000, DstPort: port, SYN: true, Window: 1000}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: net.HardwareAddr{10, 0x58, 0, 0, 0, 2}, DstMAC: net.HardwareAddr{10, 0x58, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv4}, ip, tcp)
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A Service with affinity: its flow, its group, and the flow the switch learns
// when a client comes, which no difference may take away.
func TestContentsAreBroughtAboutAndLearnedFlowsLeftAlone(t *testing.T) {
	b, ofctl, s := nativeBridge(t)
	const learned = 0x1f
	// A bucket can't learn: the table it leads to does.
	const learning = "table=6,tcp,actions=learn(table=5,idle_timeout=10800,priority=100,cookie=0x1f,eth_type=0x800,nw_proto=6,NXM_OF_IP_SRC[],tcp_dst=80,load:NXM_NX_REG12[]->NXM_NX_REG12[]),output:2"
	want := Desired{
		Groups: slices.Values([]*Group{serviceGroup(1, 3, true), serviceGroup(2, 3, false)}),
		Flows: slices.Values([]*ovs.Flow{
			parseFlow(t, "table=0,priority=10,tcp,nw_dst=10.96.0.1,tp_dst=80,actions=resubmit(,5),group:1"),
			parseFlow(t, "table=0,priority=9,ip,actions=group:2"), parseFlow(t, "table=5,priority=0,actions=drop"), parseFlow(t, learning), parseFlow(t, "table=6,priority=0,actions=drop"),
		}),
		Keep: func(f *ovs.Flow) bool { return f.Table == 5 && f.Cookie == learned },
	}
	settle := func(changes int) {
		t.Helper()
		actual, err := b.Dump(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		diff := want.Diff(actual)
		if diff.Len() != changes {
			t.Errorf("%d changes, want %d:\n%s", diff.Len(), changes, diff)
		}
		if err := b.Commit(testContext(t), diff); err != nil {
			t.Fatal(err)
		}
		for _, reader := range []*Bridge{b, ofctl} {
			if actual, err = reader.Dump(testContext(t)); err != nil {
				t.Fatal(err)
			}
			if left := want.Diff(actual); !left.Empty() {
				t.Errorf("a difference is left:\n%s", left)
			}
		}
	}
	settle(7)
	if err := s.Receive(testContext(t), "p1", synTo(t, "10.1.0.7", "10.96.0.1", 80)); err != nil {
		t.Fatal(err)
	}
	var flow *ovs.Flow
	for deadline := time.Now().Add(10 * time.Second); flow == nil; {
		if err := b.EachFlow(testContext(t), DumpOptions{Match: fmt.Sprintf("cookie=%#x/-1", learned)}, func(f *ovs.Flow) error { flow = f; return nil }); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("no flow was learned")
		}
	}
	head := "cookie=0x1f,idle_timeout=10800,table=5,priority=100,tcp,nw_src=10.1.0.7,tp_dst=80,actions=set_field:0"
	if got := Text(flow); !strings.HasPrefix(got, head) || !strings.HasSuffix(got, "->reg12") {
		t.Errorf("learned %s", got)
	}
	settle(0)

	// One group goes and with it, if it were before them, the flows to it; a flow
	// changes to another group; a group changes; a foreign flow and group come in.
	foreign := &Transaction{
		SetGroups: []*Group{serviceGroup(8, 1, false)},
		Add:       []*ovs.Flow{parseFlow(t, "table=0,priority=77,ip,actions=group:8"), parseFlow(t, "cookie=5,table=5,priority=100,arp,actions=drop")},
	}
	if err := ofctl.Commit(testContext(t), foreign); err != nil {
		t.Fatal(err)
	}
	want.Groups = slices.Values([]*Group{serviceGroup(1, 4, true), serviceGroup(3, 3, false)})
	want.Flows = slices.Values([]*ovs.Flow{
		parseFlow(t, "table=0,priority=10,tcp,nw_dst=10.96.0.1,tp_dst=80,actions=resubmit(,5),group:1"),
		parseFlow(t, "table=0,priority=9,ip,actions=group:3"), parseFlow(t, "table=5,priority=0,actions=drop"), parseFlow(t, learning), parseFlow(t, "table=6,priority=0,actions=drop"),
	})
	settle(2 + 1 + 2 + 2)
	if flows, err := ofctl.DumpFlows(testContext(t)); err != nil || len(flows) != 6 {
		t.Errorf("%d flows, error %v: the learned one is gone", len(flows), err)
	}
	want.Keep = nil
	settle(1)
}
