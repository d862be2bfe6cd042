package nodes

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/test/bed"
)

// policies lock the client in, who may reach the guarded server alone, and are its
// guard, who lets in the client alone; their pods are on different nodes.
const policies = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: lock}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: guarded}}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: guard}
spec:
  podSelector: {matchLabels: {app: guarded}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
---
`

// service is one whose endpoint is an open pod of the other node.
const service = `
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: web}
spec:
  clusterIPs: ["10.96.0.10", "fd00:10:96::10"]
  ipFamilies: [IPv4, IPv6]
  ports: [{name: tcp, port: 80}, {name: udp, protocol: UDP, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: web-4, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: tcp, port: 80}, {name: udp, protocol: UDP, port: 80}]
endpoints: [{addresses: [%q], nodeName: node-b}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: web-6, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: tcp, port: 80}, {name: udp, protocol: UDP, port: 80}]
endpoints: [{addresses: [%q], nodeName: node-b}]
---
`

// across are the ways between the nodes that are to be tried whatever carries
// them.
func (p *pair) across() (all []way) {
	client, stranger := &p.a.pods["client"].Host, &p.a.pods["stranger"].Host
	guarded, open := &p.b.pods["guarded"].Host, &p.b.pods["open"].Host
	web := &bed.Host{Name: "Service web", Addrs: []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00:10:96::10")}}
	for _, w := range []struct {
		from, to *bed.Host
		allowed  bool
	}{
		{client, guarded, true}, {stranger, guarded, false}, {client, open, false}, {stranger, open, true},
		{guarded, stranger, true}, // the other way through the tunnel
		{stranger, web, true}, {client, web, false},
		// The node's own processes and pods with hostNetwork.
		{p.a.Node, open, true}, {p.a.Node, guarded, false}, {p.a.Node, web, true}, {p.b.Node, stranger, true},
	} {
		all = append(all, ways(w.from, w.to, w.allowed)...)
	}
	// A pod reaches processes of the other node by its addresses.
	for _, a := range p.b.addrs {
		all = append(all, way{stranger, netip.AddrPortFrom(a, port), "node-b", true})
	}
	return all
}

func TestPodsOfTwoNodesReachEachOtherByWhatJoinsTheNodes(t *testing.T) {
	p := start(t)
	for _, name := range []string{"client", "stranger"} {
		p.pod(t, p.a, name)
	}
	for _, name := range []string{"guarded", "open"} {
		p.pod(t, p.b, name)
	}
	open := p.b.pods["open"]
	p.more = policies + fmt.Sprintf(service, open.Addr(4), open.Addr(6))
	p.write(t)
	serve(t, &bed.Host{Netns: p.b.Node.Netns, Name: "node-b", Addrs: p.b.addrs})

	t.Run("Geneve over IPv4", func(t *testing.T) {
		for _, n := range p.both() {
			n.mtuIs(t, mtu-50)
		}
		try(t, p.across())
		fits(t, p.a.pods["stranger"], open, mtu-50)
		p.strangersOnTheUnderlay(t, "geneve")
	})
	t.Run("a node that changes its address", func(t *testing.T) {
		old, now := p.b.addrs[0], address(link[0], 22)
		p.b.on(t, func() error { return setAddr(netlink.AddrDel, old, link[0].Bits()) })
		p.b.on(t, func() error { return setAddr(netlink.AddrAdd, now, link[0].Bits()) })
		serve(t, &bed.Host{Netns: p.b.Node.Netns, Name: "node-b", Addrs: []netip.Addr{now}})
		p.b.addrs = []netip.Addr{now, p.b.addrs[1]}
		p.write(t)
		try(t, p.across())
		p.b.on(t, func() error { return setAddr(netlink.AddrAdd, old, link[0].Bits()) })
		forge(t, "geneve", p.b, p.a, p.a.pods["stranger"],
			forgery{what: "from the node's old address", outer: old, inner: open.Addr(4)},
			forgery{what: "from its new one", outer: now, inner: open.Addr(4), genuine: true})
		p.b.on(t, func() error { return setAddr(netlink.AddrDel, old, link[0].Bits()) })
	})
	both := map[*node][]netip.Addr{p.a: p.a.addrs, p.b: p.b.addrs}
	t.Run("Geneve over IPv6", func(t *testing.T) {
		for _, n := range p.both() {
			n.addrs = n.addrs[1:]
		}
		p.write(t)
		for _, n := range p.both() {
			n.mtuIs(t, mtu-70)
		}
		p.settled(t, "geneve")
		try(t, p.across())
		// Their interfaces are of before: the kernel's tunnel tells that less fits now.
		if datapath == sandbox.System {
			fits(t, p.a.pods["client"], p.b.pods["guarded"], mtu-70)
		}
		p.strangersOnTheUnderlay(t, "geneve")
	})
	t.Run("VXLAN over IPv6", func(t *testing.T) {
		p.restart(t, nodes.Encap, "--tunnel=vxlan")
		try(t, p.across())
		if datapath == sandbox.System {
			fits(t, p.b.pods["guarded"], p.a.pods["stranger"], mtu-70)
		}
		p.strangersOnTheUnderlay(t, "vxlan")
	})
	t.Run("VXLAN over IPv4", func(t *testing.T) {
		for _, n := range p.both() {
			n.addrs = both[n][:1]
		}
		p.write(t)
		p.settled(t, "vxlan")
		try(t, p.across())
		fits(t, p.a.pods["stranger"], open, mtu-50)
		p.strangersOnTheUnderlay(t, "vxlan")
	})
	t.Run("routes instead of a tunnel", func(t *testing.T) {
		if emulated {
			t.Skip("routes are the kernel's, whose datapath has no part in them; and to start agents takes long here")
		}
		for _, n := range p.both() {
			n.addrs = both[n]
		}
		p.write(t)
		p.restart(t, nodes.NoEncap)
		for _, n := range p.both() {
			n.mtuIs(t, mtu)
		}
		try(t, p.across())
	})
}

// settled waits until both ends of the tunnel are where the Node objects say: what
// is sent by then goes there.
func (p *pair) settled(t *testing.T, tunnel string) {
	t.Helper()
	stranger, open := p.a.pods["stranger"], p.b.pods["open"]
	forge(t, tunnel, p.a, p.b, open, forgery{what: "as node-a", outer: p.a.addrs[0], inner: stranger.Addr(4), genuine: true})
	forge(t, tunnel, p.b, p.a, stranger, forgery{what: "as node-b", outer: p.b.addrs[0], inner: open.Addr(4), genuine: true})
}

// strangersOnTheUnderlay sends what a tunnel's end must not take.
func (p *pair) strangersOnTheUnderlay(t *testing.T, tunnel string) {
	t.Helper()
	genuine := p.a.addrs[0]
	i := choose(genuine.Is4(), 0, 1)
	other := address(link[i], 66)
	p.a.on(t, func() error { return setAddr(netlink.AddrAdd, other, link[i].Bits()) })
	defer p.a.on(t, func() error { return setAddr(netlink.AddrDel, other, link[i].Bits()) })
	stranger, guarded := p.a.pods["stranger"], p.b.pods["guarded"]
	forge(t, tunnel, p.a, p.b, p.b.pods["open"],
		forgery{what: "from an address that is no node's", outer: other, inner: stranger.Addr(4)},
		forgery{what: "from an address that is no node's, IPv6", outer: other, inner: stranger.Addr(6)},
		forgery{what: "in the name of a pod of the receiving node", outer: genuine, inner: guarded.Addr(4)},
		forgery{what: "in the name of somebody outside", outer: genuine, inner: netip.MustParseAddr("203.0.113.5")},
		forgery{what: "as the node itself", outer: genuine, inner: stranger.Addr(4), genuine: true})
}
