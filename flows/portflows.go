package flows

import (
	"net/netip"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// portFlows are the flows of one pod's port. None depends on how many rules
// there are.
func (p *Pipeline) portFlows(pt *port) []*Flow {
	var fs []*Flow
	n := pt.OFPort
	mac := pt.MAC.String()
	cookie := NewCookie(KindPort, uint64(n))
	add := func(t Table, priority int, proto ovs.Protocol, inPort uint32, m []ovs.Match, actions ...ovs.Action) {
		fs = append(fs, newFlow(t, priority, cookie, proto, inPort, m, actions...))
	}
	fromPod := []ovs.Action{flow.Set(regSource, sourcePod), gotoTable(TableConntrack)}
	for _, a := range pt.Addrs {
		switch {
		case a.Is4():
			add(TableClassifier, 220, ovs.ProtocolARP, n, match("dl_src", mac, "arp_spa", a.String(), "arp_sha", mac), gotoTable(TableArpResponder))
			fs = append(fs, responder(cookie, p.node.GatewayOFPort, a, pt.MAC)...)
		case p.node.HostsAnswerND:
			fs = append(fs, p.neighbourFlows(pt, a)...)
		default:
			// The responder answers whoever asks and nobody else hears the
			// solicitation, so its source address need not be checked.
			add(TableClassifier, 220, ovs.ProtocolICMPv6, n, discovery(solicitation, match("dl_src", mac), nil), gotoTable(TableArpResponder))
			fs = append(fs, responder(cookie, p.node.GatewayOFPort, a, pt.MAC)...)
		}
		add(TableClassifier, 190, flow.IPProtocol(a), n, match("dl_src", mac, flow.SrcField(a), a.String()), fromPod...)
	}
	spoof := NewCookie(KindSpoof, uint64(n))
	fs = append(fs, newFlow(TableClassifier, 10, spoof, "", n, nil, deny(spoof)...))

	for _, a := range pt.Addrs {
		add(TableConntrackState, 297, flow.IPProtocol(a), n, match(flow.DstField(a), a.String()),
			flow.Set(regSource, sourcePod|sourceSelf), gotoTable(TableRoute))
	}
	// An error is the pod's to report only of a connection it is an end of: it is
	// no router, and has not seen other pods' packets.
	for _, a := range pt.Addrs {
		for _, end := range []string{"ct_" + flow.SrcField(a), "ct_" + flow.DstField(a)} {
			add(TableConntrackState, 296, flow.IPProtocol(a), n, match("ct_state", "+rel+trk", end, a.String()),
				flow.SetMasked(regSource, sourceJudged, sourceJudged), gotoTable(TableRoute))
		}
	}
	fs = append(fs, newFlow(TableConntrackState, 294, spoof, "", n, match("ct_state", "+rel+trk"), deny(spoof)...))
	for _, a := range pt.Addrs {
		// A Service that chose the pod itself. The pod would answer itself past the
		// bridge if it saw its own address.
		back := sourceSelf | sourceTranslated
		add(TableEgressPeer, 285, flow.IPProtocol(a), n, append([]ovs.Match{flow.IsMasked(regSource, sourceBalanced, sourceBalanced)},
			match(flow.DstField(a), a.String())...), flow.SetMasked(regSource, back, back), gotoTable(TableRoute))
	}
	// What ConntrackState noted of a balanced connection may be older than the rules
	// it now comes to: the switch keeps it in a cache while the datapath works out
	// the hash that its group goes by.
	if subject := p.subject(pt, Egress); len(subject) > 0 && len(p.node.ServiceHops) > 0 {
		add(TableEgressPeer, 275, "", n, []ovs.Match{flow.IsMasked(regSource, sourceBalanced, sourceBalanced), flow.Is(regEgressPage, 0)},
			append(subject, ovs.Resubmit(0, int(TableEgressPeer)))...)
	}
	add(TableConntrackState, 200, "", n, match("ct_state", "+new+trk"), p.enter(pt, Egress)...)
	for _, proto := range p.node.judgedAlways() {
		add(TableConntrackState, 295, proto, n, match("ct_state", "+est-rpl+trk"), p.enter(pt, Egress)...)
	}
	for _, a := range pt.Addrs {
		actions := []ovs.Action{
			flow.SetText(p.node.GatewayMAC.String(), "eth_src"), flow.SetText(mac, "eth_dst"), flow.Set(regOutput, n),
		}
		add(TableRoute, 200, flow.IPProtocol(a), 0, match(flow.DstField(a), a.String()), append(actions, p.enter(pt, Ingress)...)...)
	}
	for _, d := range Directions {
		var c Cookie
		switch {
		case pt.Pending:
			c = NewCookie(kindOf(KindEgressPending, d), uint64(n))
		case pt.Subject[d].Isolated:
			c = NewCookie(kindOf(KindEgressIsolation, d), uint64(n))
		default:
			continue
		}
		if d == Egress {
			fs = append(fs, newFlow(TableEgressDefault, priLookup, c, "", n, nil, deny(c)...))
		} else {
			fs = append(fs, newFlow(TableIngressDefault, priLookup, c, "", 0, []ovs.Match{flow.Is(regOutput, n)}, deny(c)...))
		}
	}
	return append(fs, p.deniedFlows(n)...)
}

// enter loads the port's subject identity and first page of one direction and
// goes where its verdict begins.
func (p *Pipeline) enter(pt *port, d Direction) []ovs.Action {
	next := [2]Table{Egress: TableServiceLB, Ingress: TableIngressPeer}[d]
	return append(p.subject(pt, d), gotoTable(next))
}

// subject loads the port's subject identity and first page of one direction, if it
// has rules.
func (p *Pipeline) subject(pt *port, d Direction) []ovs.Action {
	r, class := regsOf[d], pt.class[d]
	entry := p.sides[d].rules.Entry(class)
	if entry == 0 || pt.Pending {
		return nil
	}
	return []ovs.Action{flow.Set(r.subject, class), flow.Set(r.page, entry)}
}

// peerFlow loads the identity of a pod's address as the other side of a
// connection.
func peerFlow(d Direction, a netip.Addr, class uint32) *Flow {
	t := tablesOf[d]
	field := flow.DstField(a)
	if d == Ingress {
		field = flow.SrcField(a)
	}
	return newFlow(t.peer, priLookup, NewCookie(kindOf(KindEgressPeer, d), uint64(class)), flow.IPProtocol(a), 0,
		match(field, a.String()), flow.Set(regsOf[d].peer, class), gotoTable(t.block))
}

// regionFlow loads the region of the addresses under a prefix; the longest
// prefix has the highest priority.
func regionFlow(d Direction, pfx netip.Prefix, class uint32) *Flow {
	t := tablesOf[d]
	field := flow.DstField(pfx.Addr())
	if d == Ingress {
		field = flow.SrcField(pfx.Addr())
	}
	var m []ovs.Match
	switch {
	case pfx.IsSingleIP():
		m = match(field, pfx.Addr().String())
	case pfx.Bits() > 0:
		m = match(field, pfx.String())
	}
	return newFlow(t.block, 1+pfx.Bits(), NewCookie(kindOf(KindEgressBlock, d), uint64(class)), flow.IPProtocol(pfx.Addr()), 0,
		m, flow.Set(regsOf[d].block, class), gotoTable(t.policy))
}
