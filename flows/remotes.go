package flows

import (
	"net/netip"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// remote is another node with its flows as they were last given out.
type remote struct {
	Remote
	flows []*Flow
}

// setRemotes sets and removes remotes and renders the flows of all that a change
// of them or of this node touches.
func (p *Pipeline) setRemotes(changes []RemoteChange, all bool, out *Changes) {
	dirty := map[string]struct{}{}
	var old, now []*Flow
	for _, c := range changes {
		if was := p.remotes[c.Name]; was != nil {
			old = append(old, was.flows...)
			out.Narrows = true // connections from there have lost their way
			delete(p.remotes, c.Name)
		}
		if c.Remote != nil {
			p.remotes[c.Name] = &remote{Remote: *c.Remote}
			dirty[c.Name] = struct{}{}
		}
	}
	if all {
		for name := range p.remotes {
			dirty[name] = struct{}{}
		}
	}
	for _, name := range flow.SortedKeys(dirty, func(a, b string) bool { return a < b }) {
		r := p.remotes[name]
		old = append(old, r.flows...)
		r.flows = p.remoteFlows(name, &r.Remote)
		now = append(now, r.flows...)
	}
	out.diff(old, now)
}

// remoteFlows send packets for another node's pods into the tunnel, and take
// from it what that node sends from its own addresses, and nothing else.
func (p *Pipeline) remoteFlows(name string, r *Remote) []*Flow {
	if p.node.TunnelOFPort == 0 {
		return nil
	}
	var fs []*Flow
	cookie := NewCookie(KindRemote, keyHash(name))
	add := func(t Table, priority int, proto ovs.Protocol, inPort uint32, m []ovs.Match, actions ...ovs.Action) {
		fs = append(fs, newFlow(t, priority, cookie, proto, inPort, m, actions...))
	}
	tunSrc, tunDst := "tun_src", "tun_dst"
	if r.Tunnel.Is6() {
		tunSrc, tunDst = "tun_ipv6_src", "tun_ipv6_dst"
	}
	source := p.node.TunnelSource(r.Tunnel)
	for _, cidr := range r.PodCIDRs {
		a := cidr.Addr()
		add(TableClassifier, 190, flow.IPProtocol(a), p.node.TunnelOFPort,
			match(tunSrc, r.Tunnel.String(), flow.SrcField(a), cidr.Masked().String()),
			flow.Set(regSource, sourceTunnel), gotoTable(TableConntrack))
		// What came by a tunnel does not go into one: two nodes that disagree on
		// where a range is must not send packets to and fro.
		fromHere := flow.IsMasked(regSource, 0, sourceTunnel)
		actions := []ovs.Action{flow.Text("dec_ttl"), flow.SetText(p.node.GatewayMAC.String(), "eth_src"), flow.SetText(RemoteMAC.String(), "eth_dst")}
		if source.IsValid() {
			actions = append(actions, flow.SetText(source.String(), tunSrc))
		}
		actions = append(actions, flow.SetText(r.Tunnel.String(), tunDst), flow.Set(regOutput, p.node.TunnelOFPort), gotoTable(TableIngressPeer))
		add(TableRoute, 110, flow.IPProtocol(a), 0, append([]ovs.Match{fromHere}, match(flow.DstField(a), cidr.Masked().String())...), actions...)
		if a.Is4() || !p.node.HostsAnswerND { // else the node has a permanent neighbour entry
			fs = append(fs, responder(cookie, p.node.GatewayOFPort, gatewayOf(cidr), RemoteMAC)...)
		}
	}
	return fs
}

// gatewayOf returns the gateway's address of a pod range: its first.
func gatewayOf(cidr netip.Prefix) netip.Addr { return cidr.Masked().Addr().Next() }

// TunnelSource returns the address that packets of the tunnel to a node have as
// their source, the zero address if the node's routes choose.
func (n *Node) TunnelSource(to netip.Addr) netip.Addr {
	for _, a := range n.TunnelSources {
		if a.Is4() == to.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// tunnelFlows are the flows of the tunnel port that depend on no remote.
func (n *Node) tunnelFlows() []*Flow {
	t := n.TunnelOFPort
	if t == 0 {
		return nil
	}
	spoof := NewCookie(KindSpoof, uint64(t))
	fs := []*Flow{
		newFlow(TableClassifier, 10, spoof, "", t, nil, deny(spoof)...),
		newFlow(TableConntrackState, 190, cookieNode, "", t, match("ct_state", "+new+trk"), gotoTable(TableRoute)),
		newFlow(TableIngressPeer, 290, cookieNode, "", 0, []ovs.Match{flow.Is(regOutput, t)}, gotoTable(TableCommit)),
	}
	// A pod's own tunnel packet to another node, which the node's stack may give the
	// node's address on its way, would be taken for this node's there: the pod could
	// speak for any other. So could anybody who is led to that node by a Service. The
	// ports are Geneve's (RFC 8926) and VXLAN's (RFC 7348).
	senders := []ovs.Match{flow.IsMasked(regSource, sourcePod, sourceKindMask)}
	if len(n.ServiceHops) > 0 {
		senders = append(senders, balancedByGateway)
	}
	for _, sender := range senders {
		for _, udp := range []ovs.Protocol{ovs.ProtocolUDPv4, ovs.ProtocolUDPv6} {
			for _, port := range []string{"6081", "4789"} {
				fs = append(fs, newFlow(TableRoute, 60, NewCookie(KindEncapsulated, 0), udp, 0,
					append([]ovs.Match{sender}, match("tp_dst", port)...), ovs.Drop()))
			}
		}
	}
	for _, proto := range n.judgedAlways() {
		fs = append(fs, newFlow(TableConntrackState, 295, cookieNode, proto, t, match("ct_state", "+est-rpl+trk"), gotoTable(TableRoute)))
	}
	return fs
}
