package random

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cni/sluice/test/oracle"
)

// Probes draws connections that a wrong compiler would get wrong: between pods,
// to and from the edges of blocks and excepts, on the edges of port ranges and
// on named ports. Each has a pod of w.Node with a port at one end at least; of
// a cluster without one there are no probes.
func Probes(w *Cluster, c Choices, n int) []oracle.Conn {
	p := newProber(w)
	if len(p.local) == 0 {
		return nil
	}
	var conns []oracle.Conn
	for len(conns) < n {
		conns = append(conns, p.conn(c))
	}
	return conns
}

// prober holds what probes are drawn from.
type prober struct {
	w *Cluster
	// local are the ends that have a port on the node, remote those of all other
	// pods, each pod once for each of its addresses.
	local, remote []oracle.Endpoint
	pods          map[oracle.Key]*corev1.Pod
	edges         []netip.Addr // of all blocks
	ports         []service    // of all rules
	gateways      [2]netip.Addr
	nodes         []netip.Addr // of all nodes, w.Node's first
}

type service struct {
	protocol corev1.Protocol
	port     uint16
}

func newProber(w *Cluster) *prober {
	p := &prober{w: w, pods: map[oracle.Key]*corev1.Pod{}}
	for _, pod := range w.Pods {
		key := oracle.Key{Namespace: pod.Namespace, Name: pod.Name}
		p.pods[key] = pod
		for _, a := range PortAddrs(pod) {
			end := oracle.Endpoint{Pod: key, Addr: a}
			if pod.Spec.NodeName == w.Node {
				p.local = append(p.local, end)
			} else {
				p.remote = append(p.remote, end)
			}
		}
	}
	for i := range w.Nodes {
		addrs := nodeAddrs(i)
		p.nodes = append(p.nodes, addrs[:]...)
	}
	p.gateways = gatewayAddrs(0)
	for _, policy := range w.Policies {
		for _, r := range policy.Spec.Ingress {
			p.addRule(r.From, r.Ports)
		}
		for _, r := range policy.Spec.Egress {
			p.addRule(r.To, r.Ports)
		}
	}
	return p
}

func (p *prober) addRule(peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) {
	for _, peer := range peers {
		if peer.IPBlock == nil {
			continue
		}
		for _, text := range append([]string{peer.IPBlock.CIDR}, peer.IPBlock.Except...) {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				continue // drawn to be invalid
			}
			first, last := prefix.Masked().Addr(), lastOf(prefix)
			for _, a := range []netip.Addr{first, last, first.Prev(), last.Next()} {
				if p.usable(a) {
					p.edges = append(p.edges, a)
				}
			}
		}
	}
	for _, port := range ports {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil && slices.Contains(protocols, *port.Protocol) {
			protocol = *port.Protocol
		}
		if port.Port == nil || port.Port.Type == intstr.String {
			continue
		}
		first, last := port.Port.IntVal, port.Port.IntVal
		if port.EndPort != nil {
			last = *port.EndPort
		}
		for _, n := range []int32{first, last, first - 1, last + 1, (first + last) / 2} {
			if n > 0 && n < 1<<16 {
				p.ports = append(p.ports, service{protocol, uint16(n)})
			}
		}
	}
}

// usable reports whether a packet may carry an address that is no pod's: an
// ordinary unicast address that the node does not keep for its own pods.
func (p *prober) usable(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.Is4In6() {
		return false
	}
	for _, text := range append(podCIDRs(0), "0.0.0.0/8", "240.0.0.0/4", "::/8") {
		if netip.MustParsePrefix(text).Contains(a) {
			return false
		}
	}
	return true
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (p *prober) conn(c Choices) oracle.Conn {
	here := pick(c, p.local...)
	conn := oracle.Conn{Src: here, Dst: here}
	switch k := c.Intn(32); {
	case k < 9:
		conn.Dst = p.other(c, here, p.local)
	case k < 13:
		conn.Dst = p.other(c, here, p.remote)
	case k < 17:
		conn.Src = p.other(c, here, p.remote)
	case k < 23:
		conn.Dst.Pod, conn.Dst.Addr = oracle.Key{}, p.outside(c, here)
	case k < 29:
		conn.Src.Pod, conn.Src.Addr = oracle.Key{}, p.outside(c, here)
	case k < 30:
		conn.Src.Pod, conn.Src.Addr = oracle.Key{}, sameFamily(here, p.gateways[:])[0]
		conn.FromOwnNode = true
	case k < 31:
		conn.Src.Pod, conn.Src.Addr = oracle.Key{}, pick(c, sameFamily(here, p.nodes)...)
	default: // to the pod itself
	}
	s := p.service(c, conn.Dst)
	conn.Protocol, conn.Port = s.protocol, s.port
	return conn
}

// other draws another end of the same family, if there is one.
func (p *prober) other(c Choices, here oracle.Endpoint, from []oracle.Endpoint) oracle.Endpoint {
	var some []oracle.Endpoint
	for _, e := range from {
		if e.Pod != here.Pod && e.Addr.Is4() == here.Addr.Is4() {
			some = append(some, e)
		}
	}
	if len(some) == 0 {
		return here
	}
	return pick(c, some...)
}

// outside draws an address that is no pod's port on this node: one at an edge
// of a block, one far away, a node's or one of a pod that has finished.
func (p *prober) outside(c Choices, here oracle.Endpoint) netip.Addr {
	family := 6
	if here.Addr.Is4() {
		family = 4
	}
	edges := sameFamily(here, p.edges)
	if len(edges) > 0 && chance(c, 9) {
		return pick(c, edges...)
	}
	if chance(c, 2) {
		return pick(c, sameFamily(here, p.nodes)...)
	}
	if chance(c, 2) {
		if gone := sameFamily(here, p.gone()); len(gone) > 0 {
			return pick(c, gone...)
		}
	}
	return pick(c, outside[family]...)
}

// gone returns the addresses of finished pods of other nodes that nobody has
// taken over.
func (p *prober) gone() (addrs []netip.Addr) {
	for _, pod := range p.w.Pods {
		if !finished(pod) || pod.Spec.HostNetwork {
			continue
		}
		for _, a := range statusAddrs(pod) {
			if p.usable(a) && !slices.ContainsFunc(p.remote, func(e oracle.Endpoint) bool { return e.Addr == a }) {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}

func sameFamily(here oracle.Endpoint, from []netip.Addr) (some []netip.Addr) {
	for _, a := range from {
		if a.Is4() == here.Addr.Is4() {
			some = append(some, a)
		}
	}
	return some
}

// service draws a protocol and a port: one that a rule speaks of, one that a
// name of the destination stands for, or just any.
func (p *prober) service(c Choices, dst oracle.Endpoint) service {
	s := service{corev1.ProtocolTCP, uint16(pick(c, portNumbers...))}
	named := p.named(dst)
	switch k := c.Intn(16); {
	case k < 5 && len(named) > 0:
		s = pick(c, named...)
	case k < 12 && len(p.ports) > 0:
		s = pick(c, p.ports...)
	case k < 14:
		return service{protocol: oracle.ICMP}
	}
	if chance(c, 3) {
		s.protocol = pick(c, protocols...)
	}
	return s
}

func (p *prober) named(dst oracle.Endpoint) (services []service) {
	pod := p.pods[dst.Pod]
	if pod == nil {
		return nil
	}
	for _, k := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		for _, port := range k.Ports {
			services = append(services, service{port.Protocol, uint16(port.ContainerPort)})
		}
	}
	return services
}
