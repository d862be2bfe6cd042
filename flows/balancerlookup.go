package flows

import (
	"net/netip"
	"slices"
)

// Balanced is what connection tracking knows of a connection that a balancer may
// be answerable for: where the client sends to, and who answers.
type Balanced struct {
	Protocol uint8
	// Frontend is where the client sends to.
	Frontend netip.AddrPort
	// Endpoint is who answers; it is Frontend itself if the connection was never
	// translated.
	Endpoint netip.AddrPort
	// Replied is true if there has been an answer; it counts for TCP alone.
	Replied bool
}

// Stray reports whether a tracked connection leads to who does not serve it any
// more, or to a frontend that was refused and is served now. TCP connections that
// were answered are let be: their endpoint ends them.
func (p *Pipeline) Stray(c Balanced) bool {
	if c.Protocol == TCP && c.Replied {
		return false
	}
	key, there := p.BalancerAt(c.Protocol, c.Frontend)
	switch {
	case !there:
		return c.Endpoint != c.Frontend // a frontend that was
	case c.Endpoint == c.Frontend:
		b := p.balancers.byKey[key]
		return len(b.Endpoints[ScopeCluster])+len(b.Endpoints[ScopeLocal]) > 0
	}
	for _, eps := range p.balancers.byKey[key].Endpoints {
		if slices.Contains(eps, c.Endpoint) {
			return false
		}
	}
	return true
}

// BalancerAt returns the balancer that has a frontend at an address.
func (p *Pipeline) BalancerAt(protocol uint8, at netip.AddrPort) (BalancerKey, bool) {
	a := at.Addr()
	k, ok := p.balancers.at[spot{protocol, at, a.Is6()}]
	if n := p.node; n != nil && (slices.Contains(n.ServiceHops, a) || !ok && slices.Contains(n.Addrs, a)) {
		k, ok = p.balancers.at[spot{protocol, netip.AddrPortFrom(netip.Addr{}, at.Port()), a.Is6()}]
	}
	return k, ok
}

// Balancer returns a balancer. It is not to be changed.
func (p *Pipeline) Balancer(k BalancerKey) (*Balancer, bool) {
	b, ok := p.balancers.byKey[k]
	return b, ok
}

// BalancerByCookie returns the balancer whose frontends a flow is for, and in
// which scope it leads to endpoints.
func (p *Pipeline) BalancerByCookie(c Cookie) (BalancerKey, Scope, bool) {
	for k := range p.balancers.byKey {
		switch c.Kind() {
		case KindBalancer:
			for _, s := range [2]Scope{ScopeCluster, ScopeLocal} {
				if (groupKey{k, s, 0}).hash() == c.Object() {
					return k, s, true
				}
			}
		case KindRefused, KindUnserved, KindAffinity:
			if keyHash(k) == c.Object() {
				return k, ScopeCluster, true
			}
		}
	}
	return "", 0, false
}

// EndpointByID returns the endpoint whose number a packet's register holds.
func (p *Pipeline) EndpointByID(id uint32) (netip.AddrPort, bool) {
	e, ok := p.balancers.endpoints.byID[id]
	return e.at, ok
}
