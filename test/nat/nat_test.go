package nat

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// family has the addresses of one address family: a client connects to port 80
// of vip, behind which are port 8080 of first and of second. hop is an address
// that stands for the client.
type family struct {
	name, eth                               string
	client, vip, first, second, hop, router netip.Addr
}

var families = []family{
	{"IPv4", "ip", addr("10.1.0.1"), addr("10.96.0.1"), addr("10.1.0.11"), addr("10.1.0.12"), addr("10.1.0.254"), addr("10.1.0.99")},
	{"IPv6", "ipv6", addr("fd00::1"), addr("fd00:96::1"), addr("fd00::11"), addr("fd00::12"), addr("fd00::fe"), addr("fd00::99")},
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// fill puts a family's addresses into flows.
func (f family) fill(flows string) string {
	dst := "nw_dst"
	if f.eth == "ipv6" {
		dst = "ipv6_dst"
	}
	return strings.NewReplacer("IP", f.eth, "DST", dst, "VIP", f.vip.String(), "FIRST", at(f.first, 8080).String(), "SECOND", at(f.second, 8080).String(),
		"HOP", f.hop.String(), "TARGET", f.first.String()).Replace(flows)
}

// The flows note in the time to live which way a packet took.
const (
	began           = 1 // new
	beganTranslated = 2 // new, and translated already
	established     = 3
	replied         = 5
	related         = 6
)

// The kernel keeps its connections when a bridge goes: each test has zones of its
// own.

// each runs a test on a bridge of its own for each family, and there for each
// protocol. Where the tracker knows no ports of SCTP they stay as they are.
func each(t *testing.T, flows string, test func(t *testing.T, b *bed, f family, p layers.IPProtocol, portsKnown bool)) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			b := start(t, f.fill(flows))
			for _, p := range []layers.IPProtocol{layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolSCTP} {
				t.Run(p.String(), func(t *testing.T) {
					b.add(t, f.fill(flows))
					test(t, b, f, p, kernel || p != layers.IPProtocolSCTP)
				})
			}
		})
	}
}

// check compares a packet and its way.
func check(t *testing.T, p gopacket.Packet, src, dst netip.AddrPort, way uint8) {
	t.Helper()
	if got, want := fmt.Sprintf("%s by %d", describe(p), ttl(p)), fmt.Sprintf("%v > %v by %d", src, dst, way); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// pick returns one of two values that differ between the trackers.
func pick[T any](userspace, inKernel T) T {
	if kernel {
		return inKernel
	}
	return userspace
}

// A connection keeps its translation from its first packet on: another choice
// for the second packet means nothing. Until there is an answer each packet is
// new. In userspace a lookup with nat translates it all the same; in the kernel it
// does not, and only the next commit does, to where the first one said.
func TestConnectionIsTranslatedAlikeBeforeItIsAnswered(t *testing.T) {
	const flows = `
table=0,in_port=1,IP,actions=ct(table=1,zone=5,nat)
table=1,priority=9,in_port=1,IP,ct_state=+trk+new-dnat,DST=VIP,actions=set_field:1->nw_ttl,ct(commit,zone=5,nat(dst=FIRST)),output:2
table=1,priority=9,in_port=1,IP,ct_state=+trk+new+dnat,DST=TARGET,actions=set_field:2->nw_ttl,output:2
table=1,priority=9,in_port=1,IP,ct_state=+trk+est+dnat,DST=TARGET,actions=set_field:3->nw_ttl,output:2
table=1,priority=8,in_port=1,IP,actions=set_field:99->nw_ttl,output:2
table=0,in_port=2,IP,actions=ct(table=2,zone=5,nat)
table=2,priority=9,IP,ct_state=+trk+est+rpl,actions=set_field:5->nw_ttl,output:1
table=2,priority=8,IP,actions=set_field:99->nw_ttl,output:1
`
	each(t, flows, func(t *testing.T, b *bed, f family, p layers.IPProtocol, portsKnown bool) {
		client, vip, first := at(f.client, 1000), at(f.vip, 80), at(f.first, 8080)
		if !portsKnown {
			first = at(f.first, 80)
		}
		check(t, b.forward(t, "a", "b", opening(p, client, vip)), client, first, began)
		b.add(t, f.fill("table=1,priority=9,in_port=1,IP,ct_state=+trk+new-dnat,DST=VIP,actions=set_field:1->nw_ttl,ct(commit,zone=5,nat(dst=SECOND)),output:2"))
		check(t, b.forward(t, "a", "b", opening(p, client, vip)), client, first, pick[uint8](beganTranslated, began))
		check(t, b.forward(t, "b", "a", answer(p, first, client)), vip, client, replied)
		check(t, b.forward(t, "a", "b", opening(p, client, vip)), client, first, established)

		other := at(f.client, 1001)
		if portsKnown {
			check(t, b.forward(t, "a", "b", opening(p, other, vip)), other, at(f.second, 8080), began)
		} else {
			check(t, b.forward(t, "a", "b", opening(p, other, vip)), other, first, established)
		}
	})
}

// Where the first choice stands but was not applied, a commit that names no
// address applies it.
func TestCommitWithoutAnAddressTranslatesAsTheFirstOne(t *testing.T) {
	const flows = `
table=0,in_port=1,IP,actions=ct(table=1,zone=45,nat)
table=1,priority=9,IP,ct_state=+trk+new-dnat,ct_mark=0,actions=set_field:1->nw_ttl,ct(commit,zone=45,nat(dst=FIRST),exec(set_field:1->ct_mark)),output:2
table=1,priority=9,IP,ct_state=+trk+new-dnat,ct_mark=1,actions=ct(commit,table=1,zone=45,nat(dst))
table=1,priority=9,IP,ct_state=+trk+new+dnat,ct_mark=1,DST=TARGET,actions=set_field:2->nw_ttl,output:2
table=1,priority=8,IP,actions=set_field:99->nw_ttl,output:2
`
	each(t, flows, func(t *testing.T, b *bed, f family, p layers.IPProtocol, portsKnown bool) {
		client, vip, first := at(f.client, 1000), at(f.vip, 80), at(f.first, 8080)
		if !portsKnown {
			first = at(f.first, 80)
		}
		check(t, b.forward(t, "a", "b", opening(p, client, vip)), client, first, began)
		check(t, b.forward(t, "a", "b", opening(p, client, vip)), client, first, beganTranslated)
	})
}

// A connection can be in two zones, its destination translated in one and its
// source in the next; answers and errors go back through both.
func TestDestinationAndSourceAreTranslatedInTwoZones(t *testing.T) {
	const flows = `
table=0,in_port=1,IP,actions=ct(table=1,zone=15,nat)
table=1,priority=9,in_port=1,IP,ct_state=+trk+new,actions=set_field:1->nw_ttl,ct(commit,zone=15,nat(dst=FIRST)),ct(commit,zone=17,nat(src=HOP)),output:2
table=1,priority=8,in_port=1,IP,ct_state=+trk+est,actions=ct(table=3,zone=17,nat)
table=3,IP,actions=set_field:3->nw_ttl,output:2
table=0,in_port=2,IP,actions=ct(table=2,zone=17,nat)
table=2,priority=9,IP,ct_state=+trk+est+rpl,actions=ct(table=4,zone=15,nat)
table=2,priority=9,IP,ct_state=+trk+rel+rpl,actions=ct(table=5,zone=15,nat)
table=4,IP,ct_state=+trk+est+rpl,actions=set_field:5->nw_ttl,output:1
table=5,IP,ct_state=+trk+rel+rpl,actions=set_field:6->nw_ttl,output:1
`
	each(t, flows, func(t *testing.T, b *bed, f family, p layers.IPProtocol, portsKnown bool) {
		client, vip, first, hop := at(f.client, 1000), at(f.vip, 80), at(f.first, 8080), at(f.hop, 1000)
		if !portsKnown {
			first = at(f.first, 80)
		}
		sent := b.forward(t, "a", "b", opening(p, client, vip))
		check(t, sent, hop, first, began)
		check(t, b.forward(t, "a", "b", opening(p, client, vip)), hop, first, began)
		check(t, b.forward(t, "b", "a", answer(p, first, hop)), vip, client, replied)
		check(t, b.forward(t, "a", "b", opening(p, client, vip)), hop, first, established)

		for _, from := range []netip.Addr{f.first, f.router} {
			e := b.forward(t, "b", "a", unreachable(from, f.hop, sent))
			// Whoever sends it, the client gets it from whom it knows.
			if got, want := fmt.Sprintf("%s by %d", describe(e), ttl(e)), fmt.Sprintf("%v > %v by %d", f.vip, f.client, related); got != want {
				t.Errorf("the error is\n     %s\nwant %s", got, want)
			}
			about := innerPacket(e)
			if !kernel && f.vip.Is6() && p == layers.IPProtocolTCP {
				// ovs-vswitchd 3.1 writes the inner checksum of TCP over the inner source.
				if got, want := describe(about), fmt.Sprintf("%v > %v", client, vip); got == want {
					t.Error("ovs-vswitchd has learned to translate ICMPv6 errors about TCP: docs/datapaths.md says it can't")
				}
				continue
			}
			check(t, about, client, vip, began)
		}
	})
}

// After a commit that translates, what is done to the packet by the datapath is
// done to the translated one: the next zone tracks it, an output sends it. But
// flows that are looked up without a recirculation match what it was before.
func TestFlowsSeeATranslationAfterRecirculation(t *testing.T) {
	const (
		flows = `
table=0,in_port=1,IP,DST=VIP,actions=ct(commit,zone=25,nat(dst=FIRST)),resubmit(,1),ct(table=2,zone=28)
table=1,IP,DST=VIP,actions=set_field:11->nw_ttl,output:2
table=1,IP,DST=TARGET,actions=set_field:12->nw_ttl,output:2
table=2,IP,DST=VIP,actions=set_field:13->nw_ttl,output:2
table=2,IP,DST=TARGET,actions=set_field:14->nw_ttl,output:2
`
		resubmitted, recirculated = 11, 14
	)
	each(t, flows, func(t *testing.T, b *bed, f family, p layers.IPProtocol, portsKnown bool) {
		client, first := at(f.client, 1000), at(f.first, 8080)
		if !portsKnown {
			first = at(f.first, 80)
		}
		check(t, b.forward(t, "a", "b", opening(p, client, at(f.vip, 80))), client, first, resubmitted)
		check(t, b.receive(t, "b"), client, first, recirculated)
	})
}

// A packet of a connection that was not answered yet has the mark that the first
// one was committed with, also where it is not translated. A commit that names no
// address then translates it as the first one was.
func TestUnansweredConnectionIsTranslatedByItsMark(t *testing.T) {
	const flows = `
table=0,in_port=1,IP,actions=ct(table=1,zone=35,nat)
table=1,priority=10,IP,ct_state=+trk+new-dnat,ct_mark=0x80/0x80,actions=ct(commit,zone=35,nat(dst),table=1)
table=1,priority=9,IP,ct_state=+trk+new-dnat,DST=VIP,actions=set_field:1->nw_ttl,ct(commit,zone=35,nat(dst=FIRST),exec(set_field:0x80->ct_mark)),output:2
table=1,priority=9,IP,ct_state=+trk+new+dnat,ct_mark=0x80/0x80,DST=TARGET,actions=set_field:2->nw_ttl,output:2
table=1,priority=8,IP,actions=set_field:99->nw_ttl,output:2
`
	each(t, flows, func(t *testing.T, b *bed, f family, p layers.IPProtocol, portsKnown bool) {
		client, vip, first := at(f.client, 1000), at(f.vip, 80), at(f.first, 8080)
		if !portsKnown {
			first = at(f.first, 80)
		}
		check(t, b.forward(t, "a", "b", opening(p, client, vip)), client, first, began)
		for range 2 {
			check(t, b.forward(t, "a", "b", opening(p, client, vip)), client, first, beganTranslated)
		}
	})
}

// Two connections from one port of a client may come to the same endpoint, one by
// way of a translation and one without. A commit that names no source gives the
// later one another port, and answers find back to each. A connection that meets
// no other is left as it is.
func TestSourcePortGivesWayWhereConnectionsWouldMeet(t *testing.T) {
	if !kernel {
		t.Skip("ovs-vswitchd 3.1 may end when it finds an entry whose source needed no change: nothing commits so there")
	}
	const flows = `
table=0,in_port=1,IP,actions=ct(table=1,zone=55,nat)
table=1,priority=9,IP,ct_state=+trk+new,DST=VIP,actions=set_field:1->nw_ttl,ct(commit,zone=55,nat(dst=FIRST)),output:2
table=1,priority=9,IP,ct_state=+trk+new,DST=TARGET,actions=set_field:1->nw_ttl,ct(commit,zone=55,nat(src)),output:2
table=1,priority=8,IP,actions=set_field:99->nw_ttl,output:2
table=0,in_port=2,IP,actions=ct(table=2,zone=55,nat)
table=2,priority=9,IP,ct_state=+trk+est+rpl,actions=set_field:5->nw_ttl,output:1
table=2,priority=8,IP,actions=set_field:99->nw_ttl,output:1
`
	each(t, flows, func(t *testing.T, b *bed, f family, p layers.IPProtocol, _ bool) {
		client, vip, first := at(f.client, 1000), at(f.vip, 80), at(f.first, 8080)
		check(t, b.forward(t, "a", "b", opening(p, client, vip)), client, first, began)

		past := b.forward(t, "a", "b", opening(p, client, first))
		port, err := strconv.ParseUint(past.TransportLayer().TransportFlow().Src().String(), 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		given := at(f.client, uint16(port))
		if given == client {
			t.Errorf("both connections come to %s from %s", first, client)
		}
		check(t, past, given, first, began)
		check(t, b.forward(t, "a", "b", opening(p, client, first)), given, first, began)
		check(t, b.forward(t, "b", "a", answer(p, first, given)), first, client, replied)
		check(t, b.forward(t, "b", "a", answer(p, first, client)), vip, client, replied)

		other := at(f.client, 5000)
		check(t, b.forward(t, "a", "b", opening(p, other, first)), other, first, began)
	})
}
