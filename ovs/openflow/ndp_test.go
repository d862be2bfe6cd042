package openflow

import (
	"bytes"
	"fmt"

	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

// ndResponder answers neighbour solicitations for fd00::1.
//
// It takes two flows: nd_tll may be set only by a flow whose match says that the
// packet is an advertisement, so the first flow makes it one and the second
// completes it. The register keeps real advertisements away from the second. The
// address of the link layer travels in eth_src, so the second flow serves every
// target.
var ndResponder = []string{
	"table=1,priority=200,icmp6,icmpv6_type=135,icmpv6_code=0,nd_target=fd00::1,actions=" +
		"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:0a:58:00:00:00:01->eth_src," +
		"move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],set_field:fd00::1->ipv6_src," +
		"set_field:136->icmpv6_type,set_field:2->nd_options_type,set_field:0xe0000000->nd_reserved," +
		"set_field:0x1->reg9,resubmit(,1)",
	"table=1,priority=200,icmp6,icmpv6_type=136,icmpv6_code=0,reg9=0x1,actions=move:NXM_OF_ETH_SRC[]->NXM_NX_ND_TLL[],IN_PORT",
	"table=0,priority=0,actions=resubmit(,1)",
	"table=1,priority=0,actions=drop",
}

func TestNeighbourSolicitationIsAnsweredByFlows(t *testing.T) {
	b, s := testBridge(t)
	pcap := filepath.Join(s.RunDir(), "p1.pcap")
	sandboxtest.Run(t, s, "ovs-vsctl", "--db="+s.Endpoint(), "set", "interface", "p1", "options:tx_pcap="+pcap)
	tr := &Transaction{}
	for _, f := range ndResponder {
		tr.Add = append(tr.Add, parseFlow(t, f))
	}
	if err := b.Commit(testContext(t), tr); err != nil {
		t.Fatal(err)
	}
	dumped, err := b.DumpFlows(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	sameTexts(t, texts(dumped), texts(tr.Add))

	pod := net.HardwareAddr{2, 0, 0, 0, 0, 5}
	sandboxtest.Run(t, s, "ovs-appctl", "netdev-dummy/receive", "p1", fmt.Sprintf("%x", solicitation(t, pod, "fd00::5", "fd00::1")))
	answer := firstPacket(t, pcap)

	eth, _ := answer.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	ip, _ := answer.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	na, _ := answer.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	if eth == nil || ip == nil || na == nil {
		t.Fatalf("the answer is no neighbour advertisement:\n%s", answer.Dump())
	}
	gateway := net.HardwareAddr{0x0a, 0x58, 0, 0, 0, 1}
	if !bytes.Equal(eth.DstMAC, pod) || !bytes.Equal(eth.SrcMAC, gateway) {
		t.Errorf("Ethernet %v > %v", eth.SrcMAC, eth.DstMAC)
	}
	if ip.SrcIP.String() != "fd00::1" || ip.DstIP.String() != "fd00::5" || ip.HopLimit != 255 {
		t.Errorf("IPv6 %v > %v, hop limit %d", ip.SrcIP, ip.DstIP, ip.HopLimit)
	}
	if !na.Router() || !na.Solicited() || !na.Override() || na.TargetAddress.String() != "fd00::1" {
		t.Errorf("flags %#x, target %v", na.Flags, na.TargetAddress)
	}
	if len(na.Options) != 1 || na.Options[0].Type != layers.ICMPv6OptTargetAddress || !bytes.Equal(na.Options[0].Data, gateway) {
		t.Errorf("options %v", na.Options)
	}
	icmp := answer.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	if err, sum := icmp.VerifyChecksum(); err != nil || !sum.Valid {
		t.Errorf("checksum %+v, error %v", sum, err)
	}

	var hits uint64
	err = b.EachFlow(testContext(t), DumpOptions{Match: "table=1,icmp6", Stats: true}, func(f *ovs.Flow) error {
		hits += f.Stats.PacketCount
		return nil
	})
	if err != nil || hits != 2 {
		t.Errorf("%d packets counted, error %v", hits, err)
	}
}

// solicitation returns a neighbour solicitation with a source link-layer option.
func solicitation(t *testing.T, from net.HardwareAddr, src, target string) []byte {
	t.Helper()
	dst := net.ParseIP("ff02::1:ff00:1")
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: net.ParseIP(src), DstIP: dst}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: from, DstMAC: net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv6},
		ip, icmp, &layers.ICMPv6NeighborSolicitation{
			TargetAddress: net.ParseIP(target),
			Options:       layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: from}},
		})
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// firstPacket waits for the first packet in a capture that is being written.
func firstPacket(t *testing.T, path string) gopacket.Packet {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if text, err := os.ReadFile(path); err == nil {
			if r, err := pcapgo.NewReader(bytes.NewReader(text)); err == nil {
				if data, _, err := r.ReadPacketData(); err == nil {
					return gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no packet in %s", path)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
