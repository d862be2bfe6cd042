package service

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// endpoint is an endpoint at the port that stands for one of a Service's ports.
type endpoint struct {
	at netip.AddrPort
	*cluster.Endpoint
}

// gather returns the endpoints of a port in one family, sorted, each address and
// port once. The slices are those of the Service, sorted by name.
func (at place) gather(of []*cluster.EndpointSlice, port *cluster.ServicePort, is6 bool) []endpoint {
	var all []endpoint
	for _, s := range of {
		for i := range s.Ports {
			p := &s.Ports[i]
			if p.Name != port.Name || p.Protocol != port.Protocol {
				continue
			}
			for j := range s.Endpoints {
				if e := &s.Endpoints[j]; e.Addr.Is6() == is6 {
					all = append(all, endpoint{netip.AddrPortFrom(e.Addr, p.Port), e})
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b endpoint) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return at.worth(&b) - at.worth(&a)
	})
	return slices.CompactFunc(all, func(a, b endpoint) bool { return a.at == b.at })
}

// worth orders what several slices say of one endpoint: for a while two of them
// have it, when it goes from one to the other.
func (at place) worth(e *endpoint) (worth int) {
	if at.local(e) {
		worth += 8
	}
	if e.Ready {
		worth += 4
	}
	if e.Serving {
		worth += 2
	}
	if !e.Terminating {
		worth++
	}
	return worth
}
