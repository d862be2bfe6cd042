package random

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-cni/sluice/pkg/oracle"
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
		if len(p.aims) > 0 && chance(c, 11) {
			conns = append(conns, p.aimed(c))
		} else {
			conns = append(conns, p.anyhow(c))
		}
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
	nodes         []netip.Addr // of all nodes
	edges         []netip.Addr // of all blocks
	ports         []service    // of all rules
	aims          []aim
}

// service is what a connection is for; a port of zero goes with ICMP.
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
	for _, policy := range w.Policies {
		for _, r := range policy.Spec.Ingress {
			p.addRule(r.From, r.Ports)
		}
		for _, r := range policy.Spec.Egress {
			p.addRule(r.To, r.Ports)
		}
		p.aimAt(policy)
	}
	return p
}

func (p *prober) addRule(peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) {
	for _, peer := range peers {
		if peer.IPBlock != nil {
			p.edges = append(p.edges, p.edgesOf(peer.IPBlock)...)
		}
	}
	for _, port := range ports {
		p.ports = append(p.ports, edgesOfPort(port)...)
	}
}

// anyhow draws a connection without regard to any one rule.
func (p *prober) anyhow(c Choices) oracle.Conn {
	here := pick(c, p.local...)
	conn := oracle.Conn{Src: here, Dst: here}
	switch k := c.Intn(32); {
	case k < 9:
		conn.Dst = p.oneOf(c, here, p.local)
	case k < 13:
		conn.Dst = p.oneOf(c, here, p.remote)
	case k < 17:
		conn.Src = p.oneOf(c, here, p.remote)
	case k < 23:
		conn.Dst = oracle.Endpoint{Addr: p.outside(c, here)}
	case k < 29:
		conn.Src = oracle.Endpoint{Addr: p.outside(c, here)}
	case k < 30:
		gateways := gatewayAddrs(0)
		conn.Src = oracle.Endpoint{Addr: sameFamily(here, gateways[:])[0]}
		conn.FromOwnNode = true
	case k < 31:
		conn.Src = oracle.Endpoint{Addr: pick(c, sameFamily(here, p.nodes)...)}
	default: // to the pod itself
	}
	s := p.service(c, conn.Dst)
	conn.Protocol, conn.Port = s.protocol, s.port
	return conn
}

// oneOf draws an end of another pod and of the same family, or if there is none
// an address outside.
func (p *prober) oneOf(c Choices, here oracle.Endpoint, from []oracle.Endpoint) oracle.Endpoint {
	var some []oracle.Endpoint
	for _, e := range from {
		if e.Pod != here.Pod && e.Addr.Is4() == here.Addr.Is4() {
			some = append(some, e)
		}
	}
	if len(some) == 0 {
		return oracle.Endpoint{Addr: p.outside(c, here)}
	}
	return pick(c, some...)
}

// outside draws an address that is no pod's port on this node: one at an edge
// of a block, one far away, a node's or one of a pod that has finished.
func (p *prober) outside(c Choices, here oracle.Endpoint) netip.Addr {
	if edges := sameFamily(here, p.edges); len(edges) > 0 && chance(c, 9) {
		return pick(c, edges...)
	}
	if chance(c, 1) {
		return pick(c, sameFamily(here, p.nodes)...)
	}
	if gone := sameFamily(here, p.gone()); len(gone) > 0 && chance(c, 2) {
		return pick(c, gone...)
	}
	if here.Addr.Is4() {
		return pick(c, outside[4]...)
	}
	return pick(c, outside[6]...)
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
	named := p.meant("", dst)
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
