package flows

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// Priorities that more than one file uses.
const (
	priClause = 100 // conjunctions and their rules
	priChain  = 10  // from a page to the next
	priMiss   = 0   // what a table does with all else
	priLookup = 100 // an exact address; region flows lie below at their prefix's length
)

// newFlow returns a flow; matches are in the order in which ovs-ofctl prints
// them.
func newFlow(t Table, priority int, c Cookie, proto ovs.Protocol, inPort uint32, matches []ovs.Match, actions ...ovs.Action) *Flow {
	return &Flow{
		Table: int(t), Priority: priority, Cookie: uint64(c), Protocol: proto, InPort: int(inPort),
		Matches: matches, Actions: actions,
	}
}

func gotoTable(t Table) ovs.Action { return flow.Goto(int(t)) }

// match builds a list of text matches from field, value, field, value...
func match(fieldsAndValues ...string) []ovs.Match {
	var ms []ovs.Match
	for i := 0; i < len(fieldsAndValues); i += 2 {
		ms = append(ms, flow.Match(fieldsAndValues[i], fieldsAndValues[i+1]))
	}
	return ms
}

var (
	cookiePipeline = NewCookie(KindPipeline, 0)
	cookieNode     = NewCookie(KindNode, 0)
)

// baseFlows are the flows that do not depend on ports, peers or rules.
func (p *Pipeline) baseFlows() []*Flow {
	fs := frameFlows()
	n := p.node
	gw := n.GatewayOFPort
	node := func(t Table, priority int, proto ovs.Protocol, inPort uint32, m []ovs.Match, actions ...ovs.Action) {
		fs = append(fs, newFlow(t, priority, cookieNode, proto, inPort, m, actions...))
	}
	fromGateway := flow.Set(regSource, sourceGateway)
	node(TableClassifier, 220, ovs.ProtocolARP, gw, nil, gotoTable(TableArpResponder))
	node(TableClassifier, 220, ovs.ProtocolICMPv6, gw, discovery(solicitation, nil, nil), gotoTable(TableArpResponder))
	for _, proto := range ipFamilies {
		node(TableClassifier, 190, proto, gw, nil, fromGateway, gotoTable(TableConntrack))
	}
	node(TableConntrackState, 190, "", gw, match("ct_state", "+new+trk"), gotoTable(TableServiceLB))
	for _, proto := range n.judgedAlways() {
		node(TableConntrackState, 295, proto, gw, match("ct_state", "+est-rpl+trk"), gotoTable(TableRoute))
	}
	for _, a := range n.Gateways {
		if a.Is6() && n.HostsAnswerND {
			node(TableArpResponder, 100, ovs.ProtocolICMPv6, 0, discovery(solicitation, nil, match("nd_target", a.String())), ovs.Output(int(gw)))
			continue
		}
		fs = append(fs, responder(cookieNode, 0, a, n.GatewayMAC)...)
	}
	if n.HostsAnswerND {
		node(TableClassifier, 220, ovs.ProtocolICMPv6, gw, discovery(advertisement, nil, nil), gotoTable(TableArpResponder))
	}
	for _, cidr := range n.PodCIDRs {
		fs = append(fs, newFlow(TableRoute, 100, NewCookie(KindUnroutable, 0), flow.IPProtocol(cidr.Addr()), 0,
			match(flow.DstField(cidr.Addr()), cidr.Masked().String()), ovs.Drop()))
	}
	toGateway := []ovs.Action{flow.SetText(n.GatewayMAC.String(), "eth_dst"), flow.Set(regOutput, gw), gotoTable(TableIngressPeer)}
	fromPod := flow.IsMasked(regSource, sourcePod, sourceKindMask)
	notFromHere := flow.IsMasked(regSource, 0, sourceGateway)
	for _, a := range n.Gateways {
		node(TableRoute, 150, flow.IPProtocol(a), 0, append([]ovs.Match{notFromHere}, match(flow.DstField(a), a.String())...), toGateway...)
	}
	for _, proto := range ipFamilies {
		// Who began a connection through the gateway may have been given another
		// destination on the way there, by a service proxy on the node: the answer
		// goes back the same way, also if the address is a pod's of here.
		node(TableRoute, 220, proto, 0, append([]ovs.Match{notFromHere}, match("ct_state", "+rpl+trk", "ct_mark",
			fmt.Sprintf("%#x/%#x", MarkGateway, MarkSource))...), toGateway...)
		node(TableRoute, 50, proto, 0, []ovs.Match{fromPod}, toGateway...)
	}
	node(TableIngressPeer, 290, "", 0, []ovs.Match{flow.Is(regOutput, gw)}, gotoTable(TableCommit))
	for _, a := range n.Addrs {
		node(TableIngressPeer, 280, flow.IPProtocol(a), gw, match(flow.SrcField(a), a.String()), gotoTable(TableCommit))
	}
	for i, zone := range [2]uint16{ZoneIPv4, ZoneIPv6} {
		fs = append(fs, newFlow(TableCommit, priLookup, cookiePipeline, ipFamilies[i], 0, nil, commit(zone, n.yield()), gotoTable(TableOutput)))
	}
	return slices.Concat(fs, n.serviceFlows(), n.tunnelFlows(), p.watchFlows(), p.liveFlows())
}

// yield is what the commit of a connection that is no Service's says of its source.
//
// A Service's may come to the same endpoint from the same port, and what the
// endpoint sees of both would be alike. The kernel refuses to commit the second of
// the two, unless it is let choose another source port for it, which it then does;
// a commit that translates to an endpoint lets it. In ovs-vswitchd 3.1 an entry with
// a source that needed no change ends the process (docs/datapaths.md).
func (n *Node) yield() string {
	if n.UserspaceConntrack {
		return ""
	}
	return "nat(src),"
}

// judgedAlways are the protocols of which every packet is judged.
func (n *Node) judgedAlways() []ovs.Protocol {
	if n.UserspaceConntrack {
		return []ovs.Protocol{"sctp", "sctp6", ovs.ProtocolICMPv6}
	}
	return nil
}

var ipFamilies = [2]ovs.Protocol{ovs.ProtocolIPv4, ovs.ProtocolIPv6}

// frameFlows are the flows of every pipeline.
func frameFlows() []*Flow {
	var fs []*Flow
	add := func(t Table, priority int, proto ovs.Protocol, m []ovs.Match, actions ...ovs.Action) {
		fs = append(fs, newFlow(t, priority, cookiePipeline, proto, 0, m, actions...))
	}
	// Only solicitations get in, and they are answered by the bridge. Redirects
	// and router or neighbour advertisements would let a pod steer others. What is
	// not checked to be right does not pass as any other packet.
	for _, icmpType := range []int{133, 134, 135, 136, 137} {
		add(TableClassifier, 210, ovs.ProtocolICMPv6, match("icmp_type", strconv.Itoa(icmpType)), ovs.Drop())
	}
	// Nothing here has VLANs. A frame with a tag would pass like one without, and
	// keep the tag.
	add(TableClassifier, 230, "", match("vlan_tci", "0x1000/0x1000"), ovs.Drop())
	// A host's own addresses (RFC 6890) mean nothing beyond it. A node that routes
	// to 127.0.0.0/8 (route_localnet, set by some service proxies) would take a
	// pod's packets to what listens for the node alone.
	for _, own := range []string{"0.0.0.0/8", "127.0.0.0/8"} {
		add(TableClassifier, 205, ovs.ProtocolIPv4, match("nw_dst", own), ovs.Drop())
	}
	for _, own := range []string{"::", "::1", "::ffff:0.0.0.0/96"} {
		add(TableClassifier, 205, ovs.ProtocolIPv6, match("ipv6_dst", own), ovs.Drop())
	}
	// There is no multicast between pods.
	add(TableClassifier, 205, ovs.ProtocolIPv4, match("nw_dst", "224.0.0.0/4"), ovs.Drop())
	add(TableClassifier, 205, ovs.ProtocolIPv4, match("nw_dst", "255.255.255.255"), ovs.Drop())
	add(TableClassifier, 205, ovs.ProtocolIPv6, match("ipv6_dst", "ff00::/8"), ovs.Drop())

	for i, zone := range [2]uint16{ZoneIPv4, ZoneIPv6} {
		add(TableConntrack, priLookup, ipFamilies[i], nil,
			ovs.ConnectionTracking(fmt.Sprintf("table=%d,zone=%d,nat", TableConntrackState, zone)))
	}
	invalid := NewCookie(KindInvalid, 0)
	fs = append(fs, newFlow(TableConntrackState, 300, invalid, "", 0, match("ct_state", "+inv+trk"), deny(invalid)...))
	// Established and related packets have had their verdict.
	judged := flow.SetMasked(regSource, sourceJudged, sourceJudged)
	add(TableConntrackState, 290, "", match("ct_state", "+est+trk"), judged, gotoTable(TableRoute))
	// Of balanced connections it must be known on their way.
	mark := func(bits uint32) string { return fmt.Sprintf("%#x/%#x", bits, bits) }
	add(TableConntrackState, 291, "", match("ct_state", "+est+trk", "ct_mark", mark(sourceBalanced)),
		flow.SetMasked(regSource, sourceJudged|sourceBalanced, sourceJudged|sourceBalanced), gotoTable(TableRoute))
	// Before it is answered every packet of a connection is new, and another choice
	// of an endpoint for it would be wrong. A tracker that has not translated it does
	// so when it is committed once more, to where it was at first.
	for i, zone := range [2]uint16{ZoneIPv4, ZoneIPv6} {
		add(TableConntrackState, 302, ipFamilies[i], match("ct_state", "+new+trk-dnat", "ct_mark", mark(sourceBalanced)),
			ovs.ConnectionTracking(fmt.Sprintf("commit,zone=%d,nat(dst),table=%d", zone, TableConntrackState)))
	}
	// The next commit writes the mark anew.
	add(TableConntrackState, 301, "", append(match("ct_state", "+new+trk+dnat", "ct_mark", mark(sourceBalanced)), flow.IsMasked(regSource, 0, sourceBalanced)),
		flow.SetMasked(regSource, sourceBalanced, sourceBalanced), ovs.Resubmit(0, int(TableConntrackState)))
	for i, kept := range []uint32{sourceTranslated, sourceTranslated | sourceSelf} {
		bits := kept | sourceBalanced | sourceJudged
		// One that has had no answer yet is new; a tracker may have translated it.
		for _, state := range []string{"+est-rel+trk", "+new+trk+dnat"} {
			add(TableConntrackState, 298+i, "", match("ct_state", state, "ct_mark", mark(kept)), flow.SetMasked(regSource, bits, bits), gotoTable(TableRoute))
		}
	}
	add(TableConntrackState, 290, "", match("ct_state", "+rel+trk"), judged, gotoTable(TableRoute))
	// Trackers take any TCP packet for the beginning of a connection they don't
	// know. After a connection was cut the other side's next packet would begin it
	// anew, the other way round, where it may well be allowed.
	for _, proto := range []ovs.Protocol{ovs.ProtocolTCPv4, ovs.ProtocolTCPv6} {
		fs = append(fs, newFlow(TableConntrackState, 280, invalid, proto, 0,
			match("ct_state", "+new+trk", "tcp_flags", "-syn"), deny(invalid)...))
	}
	add(TableIngressPeer, 300, "", []ovs.Match{flow.IsMasked(regSource, sourceJudged, sourceJudged)}, gotoTable(TableOutput))
	self := flow.IsMasked(regSource, sourceSelf, sourceSelf)
	add(TableIngressPeer, 285, "", []ovs.Match{self}, gotoTable(TableCommit))
	// Only pods of here are subjects of egress.
	add(TableEgressPeer, 280, "", []ovs.Match{flow.IsMasked(regSource, sourceGateway, sourceKindMask)}, gotoTable(TableRoute))
	add(TableEgressPeer, 270, "", []ovs.Match{flow.Is(regEgressPage, 0)}, gotoTable(TableEgressDefault))
	// A subject no rule selects is decided by isolation alone; to look at the
	// source would give each source a megaflow of its own.
	add(TableIngressPeer, 270, "", []ovs.Match{flow.Is(regIngressPage, 0)}, gotoTable(TableIngressDefault))
	add(TableServiceLB, priMiss, "", nil, gotoTable(TableEgressPeer))
	add(TableServiceSource, priMiss, "", nil, gotoTable(TableOutput))
	for _, d := range Directions {
		t := tablesOf[d]
		add(t.peer, priMiss, "", nil, gotoTable(t.block))
		add(t.block, priMiss, "", nil, gotoTable(t.policy))
		add(t.policy, priMiss, "", nil, gotoTable(t.dflt))
		add(t.dflt, priMiss, "", nil, gotoTable(t.after))
	}
	add(TableOutput, priLookup, "", []ovs.Match{self}, ovs.InPort())
	add(TableOutput, 10, "", []ovs.Match{flow.Is(regOutput, 0)}, ovs.Drop())
	add(TableOutput, priMiss, "", nil, ovs.OutputField(regOutput.NXM()))

	for _, t := range []Table{TableClassifier, TableArpResponder, TableConntrack, TableConntrackState, TableServiceEndpoint, TableCommit, TableServiceCommit, TableDenied} {
		add(t, priMiss, "", nil, ovs.Drop())
	}
	fs = append(fs, newFlow(TableRoute, priMiss, NewCookie(KindUnroutable, 0), "", 0, nil, ovs.Drop()))
	return fs
}

// responder answers ARP requests (RFC 826) or neighbour solicitations (RFC 4861)
// for an address, to those that ask on a port, or on any if it is zero.
func responder(c Cookie, inPort uint32, a netip.Addr, mac net.HardwareAddr) []*Flow {
	m := mac.String()
	if a.Is4() {
		return []*Flow{newFlow(TableArpResponder, 100, c, ovs.ProtocolARP, inPort, match("arp_tpa", a.String(), "arp_op", "1"),
			ovs.Move("NXM_OF_ETH_SRC[]", "NXM_OF_ETH_DST[]"), flow.SetText(m, "eth_src"),
			flow.SetText("2", "arp_op"),
			ovs.Move("NXM_NX_ARP_SHA[]", "NXM_NX_ARP_THA[]"), flow.SetText(m, "arp_sha"),
			ovs.Move("NXM_OF_ARP_SPA[]", "NXM_OF_ARP_TPA[]"), flow.SetText(a.String(), "arp_spa"),
			ovs.InPort())}
	}
	// The solicitation is turned into an advertisement, and that once more looked
	// up: only there the switch lets the advertisement's fields be written.
	return []*Flow{
		newFlow(TableArpResponder, 100, c, ovs.ProtocolICMPv6, inPort, discovery(solicitation, nil, match("nd_target", a.String())),
			ovs.Move("NXM_OF_ETH_SRC[]", "NXM_OF_ETH_DST[]"), flow.SetText(m, "eth_src"),
			ovs.Move("NXM_NX_IPV6_SRC[]", "NXM_NX_IPV6_DST[]"), flow.SetText(a.String(), "ipv6_src"), flow.SetText("255", "nw_ttl"),
			flow.SetText(advertisement, "icmpv6_type"), ovs.Resubmit(0, int(TableArpResponder))),
		newFlow(TableArpResponder, 100, c, ovs.ProtocolICMPv6, inPort, discovery(advertisement, nil, match("nd_target", a.String())),
			// Router, solicited and override; and the option, which was the asker's
			// source link-layer address, becomes our target one.
			flow.SetText("0xe0000000", "nd_reserved"), flow.SetText("2", "nd_options_type"), flow.SetText(m, "nd_tll"),
			ovs.InPort()),
	}
}
