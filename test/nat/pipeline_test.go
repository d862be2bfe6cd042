package nat

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
)

// The pipeline's client is behind port a, first behind b and second behind c.
func sample(p layers.IPProtocol, f family, endpoints ...netip.Addr) flows.BalancerChange {
	b := &flows.Balancer{Protocol: uint8(p), Frontends: []flows.Frontend{{Addr: f.vip, Port: 80}}}
	for _, e := range endpoints {
		b.Endpoints[flows.ScopeCluster] = append(b.Endpoints[flows.ScopeCluster], at(e, 8080))
	}
	return flows.BalancerChange{Key: flows.BalancerKey(f.name + "/" + p.String()), Balancer: b}
}

// A connection without an answer, such as one of datagrams that ask for none,
// stays with its endpoint when the choice would be another by now.
func TestUnansweredConnectionsOfThePipelineStayWithTheirEndpoint(t *testing.T) {
	b := start(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	of, err := openflow.Open(openflow.Config{Target: bridge, RunDir: b.RunDir(), Native: true})
	if err != nil {
		t.Fatal(err)
	}
	p := flows.New()
	apply := func(d flows.Delta) {
		t.Helper()
		if _, err := p.Apply(d); err != nil {
			t.Fatal(err)
		}
		var groups []*openflow.Group
		for g := range p.Groups() {
			o := &openflow.Group{ID: g.ID, Type: openflow.Select, Selection: openflow.Selection{Method: "dp_hash"}}
			for _, k := range g.Buckets {
				o.Buckets = append(o.Buckets, openflow.Bucket{ID: k.ID, Weight: k.Weight, Actions: k.Actions})
			}
			groups = append(groups, o)
		}
		actual, err := of.Dump(ctx)
		if err != nil {
			t.Fatal(err)
		}
		want := openflow.Desired{Groups: func(yield func(*openflow.Group) bool) {
			for _, g := range groups {
				if !yield(g) {
					return
				}
			}
		}, Flows: p.Flows()}
		if err := of.Commit(ctx, want.Diff(actual)); err != nil {
			t.Fatal(err)
		}
	}
	node := flows.Node{GatewayOFPort: 9, GatewayMAC: targetMAC, UserspaceConntrack: !kernel, HostsAnswerND: kernel,
		ServiceHops: []netip.Addr{addr("169.254.0.252"), addr("fd53::252")}}
	clients, firsts, seconds := []netip.Addr{}, []netip.Addr{}, []netip.Addr{}
	for _, f := range families {
		node.PodCIDRs = append(node.PodCIDRs, netip.PrefixFrom(f.client, map[bool]int{true: 24, false: 64}[f.client.Is4()]).Masked())
		node.Gateways = append(node.Gateways, f.router)
		clients, firsts, seconds = append(clients, f.client), append(firsts, f.first), append(seconds, f.second)
	}
	firstMAC, secondMAC := net.HardwareAddr{2, 0, 0, 0, 0, 11}, net.HardwareAddr{2, 0, 0, 0, 0, 12}
	apply(flows.Delta{Node: &node, Ports: []flows.PortChange{
		{Name: "a", Port: &flows.Port{Name: "a", OFPort: 1, MAC: sourceMAC, Addrs: clients}},
		{Name: "b", Port: &flows.Port{Name: "b", OFPort: 2, MAC: firstMAC, Addrs: firsts}},
		{Name: "c", Port: &flows.Port{Name: "c", OFPort: 3, MAC: secondMAC, Addrs: seconds}},
	}})
	for _, f := range families {
		for _, p := range []layers.IPProtocol{layers.IPProtocolTCP, layers.IPProtocolUDP} {
			t.Run(f.name+"/"+p.String(), func(t *testing.T) {
				client, vip, first, second := at(f.client, 1000), at(f.vip, 80), at(f.first, 8080), at(f.second, 8080)
				apply(flows.Delta{Balancers: []flows.BalancerChange{sample(p, f, f.first)}})
				to := func(port string, src, dst netip.AddrPort) {
					t.Helper()
					got := b.forward(t, "a", port, opening(p, src, vip))
					check(t, got, src, dst, ttl(got))
				}
				to("b", client, first)
				apply(flows.Delta{Balancers: []flows.BalancerChange{sample(p, f, f.second)}})
				for range 3 {
					to("b", client, first)
				}
				to("c", at(f.client, 1001), second)
				got := b.forward(t, "b", "a", packetFrom(firstMAC, answer(p, first, client)))
				check(t, got, vip, client, ttl(got))
				to("b", client, first)
			})
		}
	}
}

// packetFrom gives a packet another Ethernet source.
func packetFrom(mac net.HardwareAddr, frame []byte) []byte {
	copy(frame[6:12], mac)
	return frame
}
