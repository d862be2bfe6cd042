package flows

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"pgregory.net/rapid"
)

// world is a plain model of what a pipeline has been told, with a reading of it
// that knows neither identities nor flows.
type world struct {
	node    Node
	remotes map[string]Remote
	ports   map[string]Port
	peers   map[netip.Addr]Peer
	blocks  [2]map[Term]Block
	rules   map[RuleKey]Rule

	balancers map[BalancerKey]Balancer
}

func newWorld() *world {
	return &world{
		node: serviceNode(), remotes: map[string]Remote{}, ports: map[string]Port{}, peers: map[netip.Addr]Peer{},
		blocks: [2]map[Term]Block{{}, {}}, rules: map[RuleKey]Rule{}, balancers: map[BalancerKey]Balancer{},
	}
}

func testNode() Node {
	return Node{
		GatewayOFPort: 1, GatewayMAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 1},
		Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00::/64")},
		Addrs:    []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.168.7.1"), netip.MustParseAddr("fd00::1")},
	}
}

// serviceNode is a node that balances.
func serviceNode() Node {
	n := testNode()
	n.ServiceHops = []netip.Addr{netip.MustParseAddr("169.254.0.252"), netip.MustParseAddr("fd53::252")}
	n.ServiceSources = []netip.Addr{netip.MustParseAddr("10.0.0.254"), netip.MustParseAddr("fd00::ffff")}
	n.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd00:96::/112")}
	return n
}

// apply enters a delta into the model.
func (w *world) apply(d Delta) {
	if d.Node != nil {
		w.node = *d.Node
	}
	for _, c := range d.Remotes {
		if delete(w.remotes, c.Name); c.Remote != nil {
			w.remotes[c.Name] = *c.Remote
		}
	}
	for _, c := range d.Ports {
		if delete(w.ports, c.Name); c.Port != nil {
			w.ports[c.Name] = *c.Port
		}
	}
	for _, c := range d.Peers {
		if delete(w.peers, c.Addr); c.Peer != nil {
			w.peers[c.Addr] = *c.Peer
		}
	}
	for _, c := range d.Blocks {
		if delete(w.blocks[c.Direction], c.Term); c.Block != nil {
			w.blocks[c.Direction][c.Term] = *c.Block
		}
	}
	for _, c := range d.Rules {
		if delete(w.rules, c.Key); c.Rule != nil {
			w.rules[c.Key] = *c.Rule
		}
	}
	for _, c := range d.Balancers {
		if delete(w.balancers, c.Key); c.Balancer != nil {
			w.balancers[c.Key] = *c.Balancer
		}
	}
}

// whole is one delta that brings all of the model.
func (w *world) whole() Delta {
	n := w.node
	d := Delta{Node: &n}
	for name, r := range w.remotes {
		d.Remotes = append(d.Remotes, RemoteChange{name, &r})
	}
	for name, p := range w.ports {
		d.Ports = append(d.Ports, PortChange{name, &p})
	}
	for a, p := range w.peers {
		d.Peers = append(d.Peers, PeerChange{a, &p})
	}
	for _, dir := range Directions {
		for t, b := range w.blocks[dir] {
			d.Blocks = append(d.Blocks, BlockChange{dir, t, &b})
		}
	}
	for k, r := range w.rules {
		d.Rules = append(d.Rules, RuleChange{k, &r})
	}
	for k, b := range w.balancers {
		d.Balancers = append(d.Balancers, BalancerChange{k, &b})
	}
	return d
}

func (w *world) portOf(a netip.Addr) (Port, bool) {
	for _, p := range w.ports {
		if slices.Contains(p.Addrs, a) {
			return p, true
		}
	}
	return Port{}, false
}

// allowed reads the model rule by rule.
func (w *world) allowed(c Connection) bool {
	src, fromPod := w.portOf(c.Src)
	dst, toPod := w.portOf(c.Dst)
	if fromPod && c.Src == c.Dst {
		return true
	}
	if fromPod && !w.side(Egress, src, c.Dst, c) {
		return false
	}
	if !toPod || !fromPod && slices.Contains(w.node.Addrs, c.Src) {
		return true
	}
	return w.side(Ingress, dst, c.Src, c)
}

func (w *world) side(d Direction, subject Port, other netip.Addr, c Connection) bool {
	if subject.Pending {
		return false
	}
	if !subject.Subject[d].Isolated {
		return true
	}
	for _, r := range w.rules {
		if r.Direction == d && w.matches(r, subject, other, c) {
			return true
		}
	}
	return false
}

func (w *world) matches(r Rule, subject Port, other netip.Addr, c Connection) bool {
	if !slices.ContainsFunc(r.Subjects, func(t Term) bool { return slices.Contains(subject.Subject[r.Direction].Terms, t) }) {
		return false
	}
	peer := r.AnyPeer || slices.ContainsFunc(r.Peers, func(t Term) bool {
		if b, ok := w.blocks[r.Direction][t]; ok {
			return b.CIDR.Contains(other) && !slices.ContainsFunc(b.Except, func(e netip.Prefix) bool { return e.Contains(other) })
		}
		return slices.Contains(w.peers[other].Terms[r.Direction], t)
	})
	return peer && (len(r.Services) == 0 || slices.ContainsFunc(r.Services, func(s Service) bool {
		return s.Protocol == c.Protocol && (s.Port == 0 || s.Port <= c.DstPort && c.DstPort <= max(s.EndPort, s.Port))
	}))
}

// Pod terms are 1 to 6, block terms 11 to 14.
var (
	podTerms   = []Term{1, 2, 3, 4, 5, 6}
	blockTerms = []Term{11, 12, 13, 14}
	podAddrs   = func() []netip.Addr {
		var as []netip.Addr
		for i := 2; i < 10; i++ {
			as = append(as, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), netip.MustParseAddr(fmt.Sprintf("fd00::%d", i)))
		}
		return as
	}()
	otherAddrs = []netip.Addr{
		netip.MustParseAddr("10.0.1.7"), netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("192.168.7.1"), netip.MustParseAddr("192.168.7.2"),
		netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("fd00:1::7"), netip.MustParseAddr("2001:db8::1"),
	}
	cidrs = func() []netip.Prefix {
		var ps []netip.Prefix
		for _, s := range []string{
			"0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.0.0.4/30", "10.0.0.5/32", "10.0.1.0/24", "192.168.0.0/16", "192.168.7.2/32",
			"::/0", "fd00::/16", "fd00::/64", "fd00::4/126", "fd00::5/128", "2001:db8::/32",
		} {
			ps = append(ps, netip.MustParsePrefix(s))
		}
		return ps
	}()
)

func terms(from []Term) *rapid.Generator[[]Term] {
	return rapid.Custom(func(t *rapid.T) []Term {
		ts := rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 3, rapid.ID[Term]).Draw(t, "terms")
		slices.Sort(ts)
		return ts
	})
}

func drawService(t *rapid.T) Service {
	s := Service{Protocol: rapid.SampledFrom([]uint8{TCP, UDP, SCTP}).Draw(t, "protocol")}
	switch rapid.IntRange(0, 2).Draw(t, "ports") {
	case 1:
		s.Port = rapid.SampledFrom([]uint16{80, 443, 1000}).Draw(t, "port")
	case 2:
		s.Port = uint16(rapid.IntRange(1, 2000).Draw(t, "port"))
		s.EndPort = s.Port + uint16(rapid.IntRange(0, 3000).Draw(t, "more"))
	}
	return s
}

func drawRule(t *rapid.T) *Rule {
	r := &Rule{Direction: rapid.SampledFrom(Directions[:]).Draw(t, "direction"), Tier: TierNetworkPolicy}
	r.Subjects = rapid.SliceOfNDistinct(rapid.SampledFrom(podTerms), 1, 2, rapid.ID[Term]).Draw(t, "subjects")
	r.AnyPeer = rapid.IntRange(0, 3).Draw(t, "any peer") == 0
	if !r.AnyPeer {
		r.Peers = rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Concat(podTerms, blockTerms)), 0, 3, rapid.ID[Term]).Draw(t, "peers")
	}
	for range rapid.IntRange(0, 2).Draw(t, "services") {
		r.Services = append(r.Services, drawService(t))
	}
	return r
}

// drawDelta draws a change of one object of each kind, or of none.
func (w *world) drawDelta(t *rapid.T) Delta {
	var d Delta
	kinds := rapid.IntRange(1, 63).Draw(t, "kinds")
	gone := func() bool { return rapid.IntRange(0, 3).Draw(t, "gone") == 0 }
	if kinds&16 != 0 {
		i := rapid.IntRange(1, 2).Draw(t, "remote")
		c := RemoteChange{Name: fmt.Sprintf("node%d", i)}
		if !gone() {
			c.Remote = &Remote{
				Tunnel:   netip.AddrFrom4([4]byte{192, 168, 7, byte(rapid.IntRange(2, 5).Draw(t, "tunnel"))}),
				PodCIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)},
			}
		}
		d.Remotes = append(d.Remotes, c)
		if rapid.IntRange(0, 3).Draw(t, "node too") == 0 {
			n := w.node
			n.TunnelOFPort = uint32(rapid.IntRange(0, 1).Draw(t, "tunnel port")) * 9
			n.Addrs = serviceNode().Addrs[:rapid.IntRange(1, 3).Draw(t, "addresses")]
			n.ServiceHops = serviceNode().ServiceHops[:rapid.IntRange(0, 2).Draw(t, "hops")]
			d.Node = &n
		}
	}
	if kinds&1 != 0 {
		i := rapid.IntRange(0, 3).Draw(t, "port")
		c := PortChange{Name: fmt.Sprintf("pod%d", i)}
		if !gone() {
			c.Port = &Port{
				Name: c.Name, OFPort: uint32(10 + i), MAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, byte(i + 2)},
				Addrs: podAddrs[2*i : 2*i+1+rapid.IntRange(0, 1).Draw(t, "dual")], Pending: rapid.IntRange(0, 5).Draw(t, "pending") == 0,
			}
			for _, dir := range Directions {
				c.Port.Subject[dir] = Subject{Terms: terms(podTerms).Draw(t, "subject"), Isolated: rapid.IntRange(0, 3).Draw(t, "isolated") > 0}
			}
		}
		d.Ports = append(d.Ports, c)
	}
	if kinds&2 != 0 {
		c := PeerChange{Addr: rapid.SampledFrom(podAddrs).Draw(t, "peer")}
		if !gone() {
			c.Peer = &Peer{Terms: [2][]Term{terms(podTerms).Draw(t, "egress"), terms(podTerms).Draw(t, "ingress")}}
		}
		d.Peers = append(d.Peers, c)
	}
	if kinds&4 != 0 {
		c := BlockChange{Direction: rapid.SampledFrom(Directions[:]).Draw(t, "direction"), Term: rapid.SampledFrom(blockTerms).Draw(t, "block")}
		if !gone() {
			c.Block = &Block{CIDR: rapid.SampledFrom(cidrs).Draw(t, "cidr")}
			for _, e := range rapid.SliceOfN(rapid.SampledFrom(cidrs), 0, 3).Draw(t, "except") {
				if c.Block.CIDR.Overlaps(e) && e.Bits() >= c.Block.CIDR.Bits() {
					c.Block.Except = append(c.Block.Except, e)
				}
			}
		}
		d.Blocks = append(d.Blocks, c)
	}
	if kinds&8 != 0 {
		c := RuleChange{Key: RuleKey(fmt.Sprintf("rule-%d", rapid.IntRange(0, 7).Draw(t, "rule")))}
		if !gone() {
			c.Rule = drawRule(t)
		}
		d.Rules = append(d.Rules, c)
	}
	if kinds&32 != 0 {
		d.Balancers = w.drawBalancers(t)
	}
	return d
}

func drawConnection(t *rapid.T) Connection {
	src := rapid.SampledFrom(slices.Concat(podAddrs, otherAddrs)).Draw(t, "src")
	c := Connection{
		Src: src, Protocol: rapid.SampledFrom([]uint8{TCP, UDP, SCTP, 1}).Draw(t, "protocol"),
		Dst: rapid.SampledFrom(slices.Concat(podAddrs, otherAddrs)).Filter(func(a netip.Addr) bool { return a.Is4() == src.Is4() }).Draw(t, "dst"),
	}
	if c.Protocol != 1 {
		c.DstPort = rapid.SampledFrom([]uint16{1, 80, 81, 443, 999, 1000, 1500, 4000, 65535}).Draw(t, "port")
	}
	return c
}
