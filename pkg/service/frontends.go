package service

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Kind is what a frontend is to its Service.
type Kind uint8

// The kinds of frontends, the better claim first.
const (
	ClusterIP Kind = iota
	NodePort
	LoadBalancerIP
	ExternalIP
)

var kinds = [...]struct{ name, field string }{
	ClusterIP: {"ClusterIP", "spec.clusterIPs"}, NodePort: {"NodePort", "spec.ports"},
	LoadBalancerIP: {"LoadBalancerIP", "status.loadBalancer.ingress"}, ExternalIP: {"ExternalIP", "spec.externalIPs"},
}

// String returns the kind, as in "ClusterIP".
func (k Kind) String() string { return kinds[k].name }

// maxAffinity is the longest time a flow can last idle: OpenFlow has 16 bits for
// its seconds.
const maxAffinity = 65535 * time.Second

var protocols = map[string]uint8{"TCP": flows.TCP, "UDP": flows.UDP, "SCTP": flows.SCTP}

// balancer is a port of a Service in one family.
type balancer struct {
	key  flows.BalancerKey
	of   *state
	port *cluster.ServicePort
	is6  bool
	// created is the Service's Created as of when its claims were made.
	created int64
	// wants are the frontends it claims, each spot once.
	wants []frontend
	// told is what the pipeline knows of it, nil if nothing.
	told     *flows.Balancer
	topology Topology
}

// frontend is a frontend with what it is.
type frontend struct {
	flows.Frontend
	kind Kind
}

// balancerKey names a port in a family: "shop/web:http/tcp/ipv4".
func balancerKey(service cluster.Key, port *cluster.ServicePort, is6 bool) flows.BalancerKey {
	name, family := port.Name, "/ipv4"
	if name == "" {
		name = strconv.Itoa(int(port.Port))
	}
	if is6 {
		family = "/ipv6"
	}
	return flows.BalancerKey(service.String() + ":" + name + "/" + strings.ToLower(port.Protocol) + family)
}

// newBalancer returns what a port of a Service is at one of its cluster addresses.
func newBalancer(of *state, port *cluster.ServicePort, clusterIP netip.Addr) *balancer {
	b := &balancer{key: balancerKey(of.key, port, clusterIP.Is6()), of: of, port: port, is6: clusterIP.Is6(), created: of.spec.Created}
	s := of.spec
	inside := flows.Frontend{Port: port.Port, Inside: scope(s.InternalLocal), Outside: scope(s.InternalLocal)}
	outside := flows.Frontend{Port: port.Port, Outside: scope(s.ExternalLocal)}
	b.want(ClusterIP, inside, clusterIP)
	if port.NodePort != 0 {
		nodePort := outside
		nodePort.Port = port.NodePort
		b.wants = append(b.wants, frontend{nodePort, NodePort})
	}
	guarded := outside
	guarded.Sources = sourceRanges(s.SourceRanges, b.is6)
	b.want(LoadBalancerIP, guarded, s.LoadBalancerIPs...)
	b.want(ExternalIP, outside, s.ExternalIPs...)
	return b
}

// want adds a frontend at each address of the balancer's family. An address that
// the Service has in two ways it has in the first.
func (b *balancer) want(kind Kind, f flows.Frontend, addrs ...netip.Addr) {
	for _, a := range addrs {
		has := func(have frontend) bool { return have.Addr == a }
		if a.Is6() == b.is6 && !slices.ContainsFunc(b.wants, has) {
			f.Addr = a
			b.wants = append(b.wants, frontend{f, kind})
		}
	}
}

func scope(local bool) flows.Scope {
	if local {
		return flows.ScopeLocal
	}
	return flows.ScopeCluster
}

// sourceRanges returns the ranges of a family, none if they are all there is.
func sourceRanges(all []netip.Prefix, is6 bool) (out []netip.Prefix) {
	for _, p := range all {
		if p.Addr().Is6() != is6 {
			continue
		}
		if p.Bits() == 0 {
			return nil
		}
		out = append(out, p)
	}
	return out
}

// render returns the balancer as it is to be, nil without frontends.
func (b *balancer) render(has []frontend, all []endpoint, at place) *flows.Balancer {
	picked, t := at.pick(all)
	b.topology = t
	if len(has) == 0 {
		return nil
	}
	out := &flows.Balancer{
		Protocol: protocols[b.port.Protocol], Affinity: min(b.of.spec.Affinity, maxAffinity),
		Frontends: make([]flows.Frontend, len(has)),
	}
	used := [2]bool{flows.ScopeCluster: true}
	for i, f := range has {
		out.Frontends[i] = f.Frontend
		used[f.Inside], used[f.Outside] = true, true
	}
	for s := range picked {
		if used[s] && len(picked[s]) > 0 {
			out.Endpoints[s] = make([]netip.AddrPort, len(picked[s]))
			for i := range picked[s] {
				out.Endpoints[s][i] = picked[s][i].at
			}
		}
	}
	return out
}

// same reports whether two balancers are equal.
func same(a, b *flows.Balancer) bool {
	if a == nil || b == nil {
		return a == b
	}
	equal := func(a, b flows.Frontend) bool {
		return a.Addr == b.Addr && a.Port == b.Port && a.Inside == b.Inside && a.Outside == b.Outside && slices.Equal(a.Sources, b.Sources)
	}
	return a.Protocol == b.Protocol && a.Affinity == b.Affinity && slices.EqualFunc(a.Frontends, b.Frontends, equal) &&
		slices.Equal(a.Endpoints[0], b.Endpoints[0]) && slices.Equal(a.Endpoints[1], b.Endpoints[1])
}
