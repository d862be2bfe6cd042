package flows

import (
	"fmt"
	"math"
	"net/netip"
	"time"
)

// spot is what no two balancers may have.
type spot struct {
	protocol uint8
	at       netip.AddrPort // no address: a node port
	is6      bool
}

func (b *Balancer) spots() map[spot]bool {
	out := map[spot]bool{}
	if b == nil {
		return out
	}
	for _, f := range b.Frontends {
		out[spot{b.Protocol, netip.AddrPortFrom(f.Addr, f.Port), b.family().Is6()}] = true
	}
	return out
}

func (p *Pipeline) validateBalancers(changes []BalancerChange) error {
	taken := map[spot]BalancerKey{}
	changed := make(map[BalancerKey]bool, len(changes))
	for _, c := range changes {
		changed[c.Key] = true
	}
	for _, c := range changes {
		b := c.Balancer
		if b == nil {
			continue
		}
		if b.Protocol != TCP && b.Protocol != UDP && b.Protocol != SCTP {
			return fmt.Errorf("balancer %s: protocol %d has no ports", c.Key, b.Protocol)
		}
		if s := b.Affinity / time.Second; b.Affinity%time.Second != 0 || s < 0 || s > math.MaxUint16 {
			return fmt.Errorf("balancer %s: affinity %v is not in whole seconds from 0 to %d", c.Key, b.Affinity, math.MaxUint16)
		}
		family := b.family()
		for _, f := range b.Frontends {
			if f.Port == 0 {
				return fmt.Errorf("balancer %s: frontend %v has no port", c.Key, f.Addr)
			}
			if f.Addr.IsValid() && f.Addr.Is4() != family.Is4() {
				return fmt.Errorf("balancer %s: frontend %v is of another family than %v", c.Key, f.Addr, family)
			}
			for _, from := range f.Sources {
				if !from.IsValid() || from.Addr().Is4() != family.Is4() {
					return fmt.Errorf("balancer %s: source range %v of frontend %v is of another family", c.Key, from, f.Addr)
				}
			}
		}
		for _, eps := range b.Endpoints {
			for _, e := range eps {
				if !e.IsValid() || e.Port() == 0 || e.Addr().Is4() != family.Is4() {
					return fmt.Errorf("balancer %s: endpoint %v is not an address and port of its family", c.Key, e)
				}
			}
		}
		for s := range b.spots() {
			other, is := taken[s]
			if !is {
				other, is = p.balancers.at[s]
				is = is && !changed[other]
			}
			if is {
				return fmt.Errorf("balancer %s: frontend %v is balancer %s's", c.Key, s.at, other)
			}
			taken[s] = c.Key
		}
	}
	return nil
}
