package flows

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// Priorities of ServiceLB. A client of the node itself is told by its source, any
// other that comes by the gateway port is from outside.
const (
	priNodePort       = 190 // pods, to a node port; an external address may be the node's own
	priFrontend       = 200 // pods, and whoever is not told apart
	priFrontendSource = 205 // the same, from one of the ranges that may connect
	priOutside        = 210
	priOutsideSource  = 215
	priNodeItself     = 220
)

// transport returns the keyword that selects a transport protocol in a family,
// and the name of its destination port as set_field has it.
func transport(protocol uint8, a netip.Addr) (proto ovs.Protocol, port string) {
	switch protocol {
	case TCP:
		proto, port = ovs.ProtocolTCPv4, "tcp_dst"
	case UDP:
		proto, port = ovs.ProtocolUDPv4, "udp_dst"
	default:
		proto, port = "sctp", "sctp_dst"
	}
	if a.Is6() {
		proto += "6"
	}
	return proto, port
}

// setDestination writes a packet's destination.
func setDestination(protocol uint8, at netip.AddrPort) []ovs.Action {
	field := "ip_dst"
	if at.Addr().Is6() {
		field = "ipv6_dst"
	}
	_, port := transport(protocol, at.Addr())
	return []ovs.Action{flow.SetText(at.Addr().String(), field), flow.SetText(fmt.Sprint(at.Port()), port)}
}

// balancerFlows lead the connections to a balancer's frontends to its groups.
func (p *Pipeline) balancerFlows(k BalancerKey, b *Balancer) []*Flow {
	n, family := p.node, b.family()
	if !family.IsValid() || !slices.ContainsFunc(n.ServiceHops, func(a netip.Addr) bool { return a.Is4() == family.Is4() }) {
		return nil
	}
	var fs []*Flow
	proto, _ := transport(b.Protocol, family)
	for _, f := range b.Frontends {
		for _, a := range n.AddrsOf(f, family) {
			at := netip.AddrPortFrom(a, f.Port)
			to := append(match(flow.DstField(a), a.String()), match("tp_dst", fmt.Sprint(f.Port))...)
			add := func(priority int, inPort uint32, src []ovs.Match, s Scope) {
				cookie, actions := p.lead(k, b, front{b.Protocol, at, s, !f.Addr.IsValid()})
				fs = append(fs, newFlow(TableServiceLB, priority, cookie, proto, inPort, append(src, to...), actions...))
			}
			hop := slices.Contains(n.ServiceHops, a)
			switch {
			case len(f.Sources) > 0 && f.Addr.IsValid():
				fs = append(fs, newFlow(TableServiceLB, priFrontend, NewCookie(KindUnserved, keyHash(k)), proto, 0, to, ovs.Drop()))
				for _, from := range f.Sources {
					add(priFrontendSource, 0, sourceMatch(from), f.Inside)
					if f.Inside != f.Outside {
						add(priOutsideSource, n.GatewayOFPort, sourceMatch(from), f.Outside)
					}
				}
				if !slices.ContainsFunc(n.Addrs, f.admits) {
					continue // neither does it let the node in
				}
			case hop:
				add(priOutside, n.GatewayOFPort, nil, f.Outside)
			case !f.Addr.IsValid():
				add(priNodePort, 0, nil, f.Inside)
				continue // it is the hop by the time it comes by the gateway
			default:
				add(priFrontend, 0, nil, f.Inside)
				if f.Inside != f.Outside {
					add(priOutside, n.GatewayOFPort, nil, f.Outside)
				}
			}
			if f.Inside == f.Outside && len(f.Sources) == 0 {
				continue
			}
			for _, own := range n.Addrs {
				if own.Is4() == a.Is4() {
					add(priNodeItself, n.GatewayOFPort, match(flow.SrcField(own), own.String()), f.Inside)
				}
			}
		}
	}
	if b.Affinity > 0 {
		fs = append(fs, p.affinityFlows(k, b)...)
	}
	return fs
}

// admits reports whether a client may connect.
func (f Frontend) admits(client netip.Addr) bool {
	return slices.ContainsFunc(f.Sources, func(p netip.Prefix) bool { return p.Contains(client) })
}

// sourceMatch matches the source addresses of a range.
func sourceMatch(from netip.Prefix) []ovs.Match {
	switch {
	case from.Bits() == 0:
		return nil
	case from.IsSingleIP():
		return match(flow.SrcField(from.Addr()), from.Addr().String())
	}
	return match(flow.SrcField(from.Addr()), from.Masked().String())
}

// lead returns what is done with a connection to a frontend.
func (p *Pipeline) lead(k BalancerKey, b *Balancer, f front) (Cookie, []ovs.Action) {
	switch {
	case len(b.Endpoints[ScopeCluster]) == 0 && len(b.Endpoints[ScopeLocal]) == 0,
		// That tracker can't translate SCTP (docs/sctp.md).
		b.Protocol == SCTP && p.node.UserspaceConntrack:
		return NewCookie(KindRefused, keyHash(k)), p.node.refuse()
	case len(b.Endpoints[f.scope]) == 0:
		return NewCookie(KindUnserved, keyHash(k)), []ovs.Action{ovs.Drop()}
	}
	actions := []ovs.Action{
		flow.SetMasked(regSource, sourceBalanced, sourceBalanced), flow.Set(regFrontend, p.balancers.fronts.id(f)),
		flow.Set(regEgressPage, 0), // EgressPeer loads it anew
	}
	if b.Affinity > 0 {
		actions = append(actions, ovs.Resubmit(0, int(TableServiceAffinity)), gotoTable(TableServiceEndpoint))
	} else {
		actions = append(actions, p.toGroup(k, f.scope))
	}
	return NewCookie(KindBalancer, groupKey{k, f.scope, 0}.hash()), actions
}

// refuse sends a packet, as it is, to the node's own stack, which refuses it at
// once (docs/nodes.md). It is committed, so that the refusal is known for an answer.
func (n *Node) refuse() []ovs.Action {
	return []ovs.Action{
		flow.SetText(n.GatewayMAC.String(), "eth_dst"), flow.Set(regOutput, n.GatewayOFPort), gotoTable(TableCommit),
	}
}

func (p *Pipeline) toGroup(k BalancerKey, s Scope) ovs.Action {
	return flow.Text(groupText(p.balancers.groups.id(groupKey{k, s, 0})))
}

func groupText(id uint32) string { return fmt.Sprintf("group:%d", id) }

// affinityFlows lead a client to the endpoint it had before, as long as it is one
// of the frontend's, or else to the one that the group chooses; that is
// remembered, for as long again with each connection.
func (p *Pipeline) affinityFlows(k BalancerKey, b *Balancer) []*Flow {
	var fs []*Flow
	done := map[front]bool{}
	for f := range frontsOf(b, p.node) {
		if done[f] || len(b.Endpoints[f.scope]) == 0 {
			continue
		}
		done[f] = true
		proto, _ := transport(b.Protocol, f.at.Addr())
		is := flow.Is(regFrontend, p.balancers.fronts.id(f))
		cookie := NewCookie(KindBalancer, groupKey{k, f.scope, 0}.hash())
		for _, e := range b.Endpoints[f.scope] {
			id := p.balancers.endpoints.id(endpoint{b.Protocol, e})
			fs = append(fs, newFlow(TableServiceEndpoint, priLookup, cookie, proto, 0, []ovs.Match{flow.Is(regEndpoint, id), is},
				slices.Concat([]ovs.Action{learn(k, b, e.Addr())}, setDestination(b.Protocol, e), []ovs.Action{gotoTable(TableEgressPeer)})...))
		}
		fs = append(fs, newFlow(TableServiceEndpoint, 50, cookie, proto, 0, []ovs.Match{is}, p.toGroup(k, f.scope)))
	}
	return fs
}

// frontFlow gives a packet its frontend back as its destination, for connection
// tracking to translate it.
func frontFlow(id uint32, f front) *Flow {
	proto, _ := transport(f.protocol, f.at.Addr())
	return newFlow(TableCommit, 150, NewCookie(KindFrontend, f.hash()), proto, 0, []ovs.Match{flow.Is(regFrontend, id)},
		append(setDestination(f.protocol, f.at), gotoTable(TableServiceCommit))...)
}

// endpointFlow commits a connection, translated to its endpoint.
func endpointFlow(id uint32, e endpoint) *Flow {
	proto, _ := transport(e.protocol, e.at.Addr())
	return newFlow(TableServiceCommit, priLookup, NewCookie(KindEndpoint, e.hash()), proto, 0, []ovs.Match{flow.Is(regEndpoint, id)},
		commit(zoneOf(e.at.Addr()), fmt.Sprintf("nat(dst=%s),", e.at)), gotoTable(TableServiceSource))
}

func zoneOf(a netip.Addr) uint16 {
	if a.Is4() {
		return ZoneIPv4
	}
	return ZoneIPv6
}

// commit commits a connection with what allowed it.
func commit(zone uint16, nat string) ovs.Action {
	return ovs.ConnectionTracking(fmt.Sprintf("commit,zone=%d,%sexec(move:%s->NXM_NX_CT_LABEL[0..31],move:%s->NXM_NX_CT_LABEL[32..63],move:NXM_NX_REG%d[0..7]->NXM_NX_CT_MARK[0..7])",
		zone, nat, regEgressRule.NXM(), regIngressRule.NXM(), regSource))
}

// balancedByGateway matches packets of the node's own and of outside connections to
// frontends.
var balancedByGateway = flow.IsMasked(regSource, sourceGateway|sourceBalanced, sourceKindMask|sourceBalanced)

// serviceFlows are the flows for Services that do not depend on which there are.
func (n *Node) serviceFlows() []*Flow {
	var fs []*Flow
	add := func(t Table, priority int, proto ovs.Protocol, inPort uint32, m []ovs.Match, actions ...ovs.Action) {
		fs = append(fs, newFlow(t, priority, cookieNode, proto, inPort, m, actions...))
	}
	for _, cidr := range n.ServiceCIDRs {
		a := cidr.Addr()
		fs = append(fs, newFlow(TableServiceLB, 50, NewCookie(KindUnowned, 0), flow.IPProtocol(a), 0,
			match(flow.DstField(a), cidr.Masked().String()), n.refuse()...))
	}
	gw := n.GatewayOFPort
	for i, proto := range ipFamilies {
		fromHop := slices.ContainsFunc(n.ServiceHops, func(a netip.Addr) bool { return a.Is4() == (i == 0) })
		if !fromHop {
			continue
		}
		// The node's own and outside connections to an endpoint that is no pod of here.
		toGateway := []ovs.Action{flow.SetText(n.GatewayMAC.String(), "eth_dst"), flow.Set(regOutput, gw), gotoTable(TableIngressPeer)}
		add(TableRoute, 55, proto, 0, []ovs.Match{balancedByGateway}, toGateway...)
		add(TableRoute, 221, proto, 0, match("ct_state", "+rpl+trk", "ct_mark",
			fmt.Sprintf("%#x/%#x", sourceGateway|sourceBalanced, sourceKindMask|sourceBalanced)), toGateway...)
	}
	if len(n.ServiceHops) == 0 {
		return fs
	}
	for _, a := range n.ServiceHops {
		// The hop is the node's alone to use: a pod's packet that went round by it
		// would be one from outside.
		fs = append(fs, newFlow(TableServiceLB, 230, NewCookie(KindUnroutable, 0), flow.IPProtocol(a), 0,
			append([]ovs.Match{flow.IsMasked(regSource, sourcePod, sourceKindMask)}, match(flow.DstField(a), a.String())...), ovs.Drop()))
	}
	for _, out := range []uint32{gw, n.TunnelOFPort} {
		if out != 0 {
			// The answers would else come to the node's stack, or not through this bridge.
			add(TableIngressPeer, 292, "", 0, []ovs.Match{balancedByGateway, flow.Is(regOutput, out)},
				flow.SetMasked(regSource, sourceTranslated, sourceTranslated), gotoTable(TableCommit))
		}
	}
	add(TableOutput, 90, "", gw, []ovs.Match{flow.Is(regOutput, gw)}, ovs.InPort())
	for _, a := range n.ServiceSources {
		zone := ZoneSourceIPv4
		if a.Is6() {
			zone = ZoneSourceIPv6
		}
		proto := flow.IPProtocol(a)
		add(TableConntrack, 110, proto, 0, append([]ovs.Match{flow.IsMasked(regSource, 0, sourceLookedUp)}, match(flow.DstField(a), a.String())...),
			flow.SetMasked(regSource, sourceLookedUp, sourceLookedUp), ovs.ConnectionTracking(fmt.Sprintf("table=%d,zone=%d,nat", TableConntrack, zone)))
		nat := ovs.ConnectionTracking(fmt.Sprintf("commit,zone=%d,nat(src=%s)", zone, a))
		translated := flow.IsMasked(regSource, sourceTranslated, sourceTranslated)
		add(TableServiceSource, priLookup, proto, 0, []ovs.Match{translated}, nat, gotoTable(TableOutput))
		add(TableIngressPeer, 305, proto, 0, append([]ovs.Match{flow.IsMasked(regSource, sourceJudged|sourceTranslated, sourceJudged|sourceTranslated)},
			match("ct_state", "-rpl+trk")...), gotoTable(TableServiceSource))
	}
	return fs
}

// learn makes the switch remember which endpoint a client was led to.
func learn(k BalancerKey, b *Balancer, family netip.Addr) ovs.Action {
	ethType, src := "0x800", "NXM_OF_IP_SRC[]"
	if family.Is6() {
		ethType, src = "0x86dd", "NXM_NX_IPV6_SRC[]"
	}
	return flow.Text(fmt.Sprintf("learn(table=%d,idle_timeout=%d,priority=%d,cookie=%#x,eth_type=%s,%s,%s,load:%s->%s)",
		TableServiceAffinity, int(b.Affinity/time.Second), priLookup, uint64(NewCookie(KindAffinity, keyHash(k))), ethType, src,
		regFrontend.NXM(), regEndpoint.NXM(), regEndpoint.NXM()))
}

// hash names a frontend, an endpoint or a group on the bridge.
func (f front) hash() uint64 {
	name := fmt.Sprint(f.protocol, f.at, f.scope)
	if f.nodePort {
		name += " node port"
	}
	return keyHash(name)
}
func (e endpoint) hash() uint64 { return keyHash(fmt.Sprint(e.protocol, e.at)) }
func (g groupKey) hash() uint64 {
	return partHash(keyHash(string(g.balancer)+string(rune('0'+g.scope))), g.part)
}

// partHash is the hash of a part of the group whose hash is whole.
func partHash(whole uint64, part int) uint64 {
	if part == 0 {
		return whole
	}
	return keyHash(fmt.Sprint(whole, part))
}
