package flows

import (
	"net/netip"
	"slices"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// discovery matches neighbour discovery of a kind as hosts send it (RFC 4861, 7.1):
// what a router has forwarded has another hop limit. Without the code Open vSwitch
// leaves what is asked for and who asks out of the kernel's match, and what becomes
// of one packet would become of all that are like it but for these.
func discovery(kind string, before, after []ovs.Match) []ovs.Match {
	return slices.Concat(before, match("nw_ttl", "255", "icmp_type", kind, "icmp_code", "0"), after)
}

// The kinds of neighbour discovery (RFC 4861, 4.3 and 4.4).
const (
	solicitation  = "135"
	advertisement = "136"
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
		add(TableClassifier, n, discovery(solicitation, match("dl_src", mac, "ipv6_src", own.String()), match("nd_sll", mac)), checked)
		add(TableArpResponder, gw, discovery(advertisement, match("ipv6_dst", own.String()), nil), toPod)
	}
	// An answer to a unicast solicitation has no link-layer address to tell.
	for _, tll := range []string{mac, "00:00:00:00:00:00"} {
		add(TableClassifier, n, discovery(advertisement, match("dl_src", mac, "ipv6_src", a.String()), match("nd_target", a.String(), "nd_tll", tll)), checked)
	}
	add(TableArpResponder, n, discovery(advertisement, nil, nil), toNode)
	add(TableArpResponder, gw, discovery(solicitation, nil, match("nd_target", a.String())), toPod)
	return fs
}
