package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/sluice-cni/sluice/flows"
)

// What follows makes parts of a node's world by their number, such that the same
// number always gives the same part.

func nodeOf() *flows.Node {
	return &flows.Node{
		GatewayOFPort: 1, GatewayMAC: net.HardwareAddr{0x0a, 0x58, 0, 0, 0, 1},
		Gateways: []netip.Addr{netip.MustParseAddr("10.244.0.1")}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/20")},
		Addrs: []netip.Addr{netip.MustParseAddr("10.244.0.1")},
	}
}

// address returns the n-th address after a base.
func address(base string, n int) netip.Addr {
	b := netip.MustParseAddr(base).As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
	return netip.AddrFrom4(b)
}

func peerAddr(i int) netip.Addr { return address("10.0.0.1", i) }

// portOf returns the i-th port, selected by a subject term of each direction.
func portOf(i int, term flows.Term) flows.PortChange {
	name := fmt.Sprintf("p%d", i)
	n := i + 2 // one is the gateway's
	subject := flows.Subject{Terms: []flows.Term{term}, Isolated: true}
	return flows.PortChange{Name: name, Port: &flows.Port{
		Name: name, OFPort: uint32(n), MAC: net.HardwareAddr{0x0a, 0x58, 10, 244, byte(n >> 8), byte(n)},
		Addrs: []netip.Addr{address("10.244.0.0", n)}, Subject: [2]flows.Subject{subject, subject},
	}}
}

// peerOf returns the i-th peer address, selected by a peer term of the given
// directions.
func peerOf(i int, term flows.Term, directions ...flows.Direction) flows.PeerChange {
	p := &flows.Peer{}
	for _, d := range directions {
		p.Terms[d] = []flows.Term{term}
	}
	return flows.PeerChange{Addr: peerAddr(i), Peer: p}
}

func ruleKey(d flows.Direction, i int) flows.RuleKey {
	return flows.RuleKey(fmt.Sprintf("NetworkPolicy/bench/p%d/%s/0", i, d))
}

// ruleOf returns the i-th rule of a direction: one TCP port of its own.
func ruleOf(d flows.Direction, i int, subject, peer flows.Term) flows.RuleChange {
	return flows.RuleChange{Key: ruleKey(d, i), Rule: &flows.Rule{
		Direction: d, Tier: flows.TierNetworkPolicy, Subjects: []flows.Term{subject}, Peers: []flows.Term{peer},
		Services: []flows.Service{{Protocol: flows.TCP, Port: uint16(1000 + i%60000)}},
	}}
}

// termOf spreads numbers over n terms; zero is not a term.
func termOf(i, n int) flows.Term { return flows.Term(1 + i%n) }
