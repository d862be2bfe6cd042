package flows

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// Sample is a small world that has every kind of flow: a database that only the
// api may reach and that reaches nothing, an api that is reached by all but one
// range from outside, a port whose policies are not known; and Services: the api
// here and on another node, at a node port that keeps to this node; one that leads
// a client to the same endpoint again; one that nobody serves.
func Sample() Delta {
	n := testNode()
	n.UserspaceConntrack = true
	n.TunnelOFPort = 9
	n.TunnelSources = []netip.Addr{netip.MustParseAddr("192.168.7.1")}
	n.ServiceHops = []netip.Addr{netip.MustParseAddr("169.254.0.252"), netip.MustParseAddr("fd53::252")}
	n.ServiceSources = []netip.Addr{netip.MustParseAddr("10.0.0.254"), netip.MustParseAddr("fd00::ffff")}
	n.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd00:96::/112")}
	mac := func(b byte) net.HardwareAddr { return net.HardwareAddr{0x0a, 0x58, 10, 0, 0, b} }
	db, api, fresh := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("10.0.0.4")
	db6, api6 := netip.MustParseAddr("fd00::2"), netip.MustParseAddr("fd00::3")
	return Delta{
		Node: &n,
		Remotes: []RemoteChange{
			{"n2", &Remote{Tunnel: netip.MustParseAddr("192.168.7.2"), PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("fd00:1::/64")}}},
		},
		Ports: []PortChange{
			{"db", &Port{Name: "db", OFPort: 2, MAC: mac(2), Addrs: []netip.Addr{db, db6}, Subject: [2]Subject{{Isolated: true}, {Terms: []Term{1}, Isolated: true}}}},
			{"api", &Port{Name: "api", OFPort: 3, MAC: mac(3), Addrs: []netip.Addr{api, api6}, Subject: [2]Subject{{Terms: []Term{1}, Isolated: true}, {Terms: []Term{2}, Isolated: true}}}},
			{"fresh", &Port{Name: "fresh", OFPort: 4, MAC: mac(4), Addrs: []netip.Addr{fresh}, Pending: true}},
		},
		Peers: []PeerChange{
			{db, &Peer{Terms: [2][]Term{Egress: {5}}}}, {db6, &Peer{Terms: [2][]Term{Egress: {5}}}},
			{api, &Peer{Terms: [2][]Term{Ingress: {6}}}}, {api6, &Peer{Terms: [2][]Term{Ingress: {6}}}},
		},
		Blocks: []BlockChange{{Ingress, 7, &Block{CIDR: netip.MustParsePrefix("0.0.0.0/0"), Except: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}},
		Rules: []RuleChange{
			{"NetworkPolicy/shop/api/egress/0", &Rule{Direction: Egress, Tier: TierNetworkPolicy, Subjects: []Term{1}, Peers: []Term{5}, Services: []Service{{Protocol: TCP, Port: 5432}}}},
			{"NetworkPolicy/shop/api/egress/1", &Rule{Direction: Egress, Tier: TierNetworkPolicy, Subjects: []Term{1}, AnyPeer: true, Services: []Service{{Protocol: UDP, Port: 53}, {Protocol: SCTP}}}},
			{"NetworkPolicy/shop/api/ingress/0", &Rule{Direction: Ingress, Tier: TierNetworkPolicy, Subjects: []Term{2}, Peers: []Term{7}, Services: []Service{{Protocol: TCP, Port: 8080, EndPort: 8090}}}},
			{"NetworkPolicy/shop/db/ingress/0", &Rule{Direction: Ingress, Tier: TierNetworkPolicy, Subjects: []Term{1}, Peers: []Term{6}, Services: []Service{{Protocol: TCP, Port: 5432}}}},
			{"NetworkPolicy/shop/db/ingress/1", &Rule{Direction: Ingress, Tier: TierNetworkPolicy, Subjects: []Term{1}, AnyPeer: true}},
		},
		Balancers: []BalancerChange{
			{"shop/api:http/ipv4", &Balancer{Protocol: TCP, Frontends: []Frontend{
				{Addr: netip.MustParseAddr("10.96.0.10"), Port: 80}, {Port: 30080, Outside: ScopeLocal},
				{Addr: netip.MustParseAddr("192.0.2.80"), Port: 80, Outside: ScopeLocal, Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
			}, Endpoints: [2][]netip.AddrPort{addrPorts("10.0.0.3:8080", "10.0.1.5:8080"), addrPorts("10.0.0.3:8080")}}},
			{"shop/api:http/ipv6", &Balancer{Protocol: TCP, Frontends: []Frontend{{Addr: netip.MustParseAddr("fd00:96::10"), Port: 80}},
				Endpoints: [2][]netip.AddrPort{addrPorts("[fd00::3]:8080")}}},
			{"kube-system/dns:dns/ipv4", &Balancer{Protocol: UDP, Frontends: []Frontend{{Addr: netip.MustParseAddr("10.96.0.53"), Port: 53}},
				Endpoints: [2][]netip.AddrPort{addrPorts("10.0.1.7:5353", "10.0.1.8:5353")}, Affinity: 3 * time.Hour}},
			{"shop/none:http/ipv4", &Balancer{Protocol: TCP, Frontends: []Frontend{{Addr: netip.MustParseAddr("10.96.0.11"), Port: 80}}}},
			{"shop/away:http/ipv4", &Balancer{Protocol: TCP, Frontends: []Frontend{{Addr: netip.MustParseAddr("10.96.0.12"), Port: 80, Inside: ScopeLocal, Outside: ScopeLocal}},
				Endpoints: [2][]netip.AddrPort{addrPorts("10.0.1.5:8080")}}},
		},
	}
}

func addrPorts(texts ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, t := range texts {
		out = append(out, netip.MustParseAddrPort(t))
	}
	return out
}

// ApplySample applies the sample to a pipeline.
func ApplySample(t *testing.T, p *Pipeline) {
	t.Helper()
	if _, err := p.Apply(Sample()); err != nil {
		t.Fatal(err)
	}
}
