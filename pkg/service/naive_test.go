package service

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// The naive compiler makes of a cluster what the Compiler should have told, at
// once and without a thought to cost. It has its own words for everything: the
// rules of kube-proxy for endpoints, asked for each endpoint by itself, and a
// sort of all wishes for who has which frontend.

type naiveWish struct {
	at       string // what only one may have
	rank     int
	service  *cluster.Service
	balancer flows.BalancerKey
	field    string
	frontend flows.Frontend
}

// naive returns the balancers of the world, and "service field" of each wish
// that somebody else's stands against.
func (w *world) naive() (map[flows.BalancerKey]*flows.Balancer, []string) {
	out := map[flows.BalancerKey]*flows.Balancer{}
	var wishes []naiveWish
	for _, key := range sortedKeys(w.services) {
		s := w.services[key]
		for _, p := range s.Ports {
			for _, ip := range s.ClusterIPs {
				b := &flows.Balancer{Protocol: map[string]uint8{"TCP": 6, "UDP": 17}[p.Protocol]}
				k := flows.BalancerKey(fmt.Sprintf("x/%s:%s/%s/ipv%d", s.Name, p.Name, strings.ToLower(p.Protocol), map[bool]int{true: 4, false: 6}[ip.Is4()]))
				out[k] = b
				w.naiveEndpoints(b, s, p, ip.Is4())
				wishes = append(wishes, naiveWishes(k, s, p, ip)...)
			}
		}
	}
	slices.SortStableFunc(wishes, func(a, b naiveWish) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.service.Created, b.service.Created), cmp.Compare(a.service.Name, b.service.Name), cmp.Compare(a.balancer, b.balancer))
	})
	owner := map[string]flows.BalancerKey{}
	var problems []string
	for _, wish := range wishes {
		if have, ok := owner[wish.at]; ok {
			if have != wish.balancer {
				problems = append(problems, wish.service.Key.String()+" "+wish.field)
			}
			continue
		}
		owner[wish.at] = wish.balancer
		out[wish.balancer].Frontends = append(out[wish.balancer].Frontends, wish.frontend)
	}
	for k, b := range out {
		if len(b.Frontends) == 0 {
			delete(out, k)
			continue
		}
		if !slices.ContainsFunc(b.Frontends, func(f flows.Frontend) bool { return f.Inside+f.Outside > 0 }) {
			b.Endpoints[flows.ScopeLocal] = nil
		}
	}
	return out, problems
}

func naiveWishes(k flows.BalancerKey, s *cluster.Service, p cluster.ServicePort, clusterIP netip.Addr) (out []naiveWish) {
	internal, external := flows.ScopeCluster, flows.ScopeCluster
	if s.InternalLocal {
		internal = flows.ScopeLocal
	}
	if s.ExternalLocal {
		external = flows.ScopeLocal
	}
	add := func(rank int, field string, f flows.Frontend) {
		if f.Addr.IsValid() && f.Addr.Is4() != clusterIP.Is4() {
			return
		}
		at := fmt.Sprint(f.Addr, clusterIP.Is4(), p.Protocol, f.Port)
		out = append(out, naiveWish{at, rank, s, k, field, f})
	}
	add(0, "spec.clusterIPs", flows.Frontend{Addr: clusterIP, Port: p.Port, Inside: internal, Outside: internal})
	if p.NodePort != 0 {
		add(1, "spec.ports", flows.Frontend{Port: p.NodePort, Outside: external})
	}
	for _, ip := range s.LoadBalancerIPs {
		f := flows.Frontend{Addr: ip, Port: p.Port, Outside: external}
		for _, r := range s.SourceRanges {
			if r.Addr().Is4() == ip.Is4() {
				f.Sources = append(f.Sources, r)
			}
		}
		if ip.Is4() && slices.Contains(s.SourceRanges, netip.MustParsePrefix("0.0.0.0/0")) {
			f.Sources = nil
		}
		add(2, "status.loadBalancer.ingress", f)
	}
	for _, ip := range s.ExternalIPs {
		if !slices.ContainsFunc(out, func(w naiveWish) bool { return w.frontend.Addr == ip }) {
			add(3, "spec.externalIPs", flows.Frontend{Addr: ip, Port: p.Port, Outside: external})
		}
	}
	return out
}

// naiveEndpoints says who serves. Of what is told of one address and port the
// best is taken, by trying every other against it.
func (w *world) naiveEndpoints(b *flows.Balancer, s *cluster.Service, p cluster.ServicePort, is4 bool) {
	type told struct {
		cluster.Endpoint
		order int
	}
	best := map[netip.AddrPort]told{}
	order := 0
	for _, key := range sortedKeys(w.slices) {
		slice := w.slices[key]
		for _, sp := range slice.Ports {
			for _, e := range slice.Endpoints {
				order++
				if slice.Service != s.Name || sp.Name != p.Name || sp.Protocol != p.Protocol || e.Addr.Is4() != is4 {
					continue
				}
				worth := func(e cluster.Endpoint) string { // as text that sorts
					return fmt.Sprint(map[bool]int{true: 1}[e.Node == "n0"], map[bool]int{true: 1}[e.Ready], map[bool]int{true: 1}[e.Serving], map[bool]int{false: 1}[e.Terminating])
				}
				at := netip.AddrPortFrom(e.Addr, sp.Port)
				if have, ok := best[at]; !ok || worth(e) > worth(have.Endpoint) {
					best[at] = told{e, order}
				}
			}
		}
	}
	ready := func(where func(cluster.Endpoint) bool) (n int) {
		for _, e := range best {
			if e.Ready && where(e.Endpoint) {
				n++
			}
		}
		return n
	}
	every := ready(func(cluster.Endpoint) bool { return true })
	forNode := func(e cluster.Endpoint) bool { return slices.Contains(e.ForNodes, "n0") }
	forZone := func(e cluster.Endpoint) bool { return slices.Contains(e.ForZones, w.zone) }
	here := func(e cluster.Endpoint) bool { return e.Node == "n0" }
	byNode := ready(func(e cluster.Endpoint) bool { return len(e.ForNodes) > 0 }) == every && ready(forNode) > 0
	byZone := !byNode && ready(func(e cluster.Endpoint) bool { return len(e.ForZones) > 0 }) == every && ready(forZone) > 0
	for at, e := range best {
		leaving := !e.Ready && e.Serving && e.Terminating
		if e.Ready && (!byNode || forNode(e.Endpoint)) && (!byZone || forZone(e.Endpoint)) || leaving && every == 0 {
			b.Endpoints[flows.ScopeCluster] = append(b.Endpoints[flows.ScopeCluster], at)
		}
		if here(e.Endpoint) && (e.Ready || leaving && ready(here) == 0) {
			b.Endpoints[flows.ScopeLocal] = append(b.Endpoints[flows.ScopeLocal], at)
		}
	}
	for i := range b.Endpoints {
		slices.SortFunc(b.Endpoints[i], netip.AddrPort.Compare)
	}
}
