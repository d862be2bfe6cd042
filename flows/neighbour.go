package flows

import (
	"net/netip"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// neighbourFlows lead neighbour discovery (RFC 4861) between the node and a pod
// where the bridge can't answer itself (Node.HostsAnswerND). A pod asks only for
// the gateway and only in its own name, and advertises nothing but its own
// address at its own MAC; no solicitation of one pod reaches another.
func (p *Pipeline) neighbourFlows(pt *port, a netip.Addr) []*Flow {
	var fs []*Flow
	n, gw, mac := pt.OFPort, p.node.GatewayOFPort, pt.MAC.String()
	add := func(t Table, inPort uint32, m []ovs.Match, action ovs.Action) {
		priority := 220
		if t == TableArpResponder {
			priority = 100
		}
		fs = append(fs, newFlow(t, priority, NewCookie(KindPort, uint64(n)), ovs.ProtocolICMPv6, inPort, m, action))
	}
	toPod, toNode := ovs.Output(int(n)), ovs.Output(int(gw))
	checked := gotoTable(TableArpResponder)
	// The kernel asks from the address that the packet it wants to send has, and
	// when it makes sure of a neighbour it knows, from the link-local one.
	for _, own := range []netip.Addr{a, flow.EUI64(pt.MAC)} {
		add(TableClassifier, n, match("dl_src", mac, "ipv6_src", own.String(), "icmp_type", "135", "nd_sll", mac), checked)
		add(TableArpResponder, gw, match("ipv6_dst", own.String(), "icmp_type", "136"), toPod)
	}
	// An answer to a unicast solicitation has no link-layer address to tell.
	for _, tll := range []string{mac, "00:00:00:00:00:00"} {
		add(TableClassifier, n, match("dl_src", mac, "ipv6_src", a.String(), "icmp_type", "136", "nd_target", a.String(), "nd_tll", tll), checked)
	}
	add(TableArpResponder, n, match("icmp_type", "136"), toNode)
	add(TableArpResponder, gw, match("icmp_type", "135", "nd_target", a.String()), toPod)
	return fs
}
