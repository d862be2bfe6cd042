package entry

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/route"
)

// Local is what the node knows of addresses.
type Local struct {
	// Sources are the gateway's addresses, Bridge those that the bridge gives to
	// connections as their source: see route.ServiceState.
	Sources, Bridge []netip.Addr
	// Ranges are those that the cluster takes Services' addresses from. Without them
	// each address is led to the bridge by itself.
	Ranges []netip.Prefix
	// Nodes are the addresses of all nodes, Pods the ranges of all pods. No Service
	// gets one of them for itself, whatever its objects say: who may write Services
	// must not take nodes from each other.
	Nodes map[netip.Addr]bool
	Pods  []netip.Prefix
}

// State returns what the kernel has to do for the balancers of the table, and what
// of them can't be done, in order.
func (t *Table) State(l Local) (state *route.ServiceState, problems []string) {
	b := builder{local: l, state: &route.ServiceState{Sources: l.Sources, Bridge: l.Bridge, Shared: map[route.AddressPort]netip.AddrPort{}}}
	b.state.Ranges, b.problems = l.Whole()
	for _, key := range slices.Sorted(maps.Keys(t.balancers)) {
		b.add(key, t.balancers[key])
	}
	b.state.Addrs = compact(b.state.Addrs, netip.Addr.Compare)
	for f := range b.state.NodePorts {
		b.state.NodePorts[f] = compact(b.state.NodePorts[f], comparePorts)
		b.state.RefusedNodePorts[f] = compact(b.state.RefusedNodePorts[f], comparePorts)
	}
	return b.state, b.problems
}

type builder struct {
	local    Local
	state    *route.ServiceState
	problems []string
}

func (b *builder) problem(format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

// Whole returns those of the ranges that hold nobody else's address, and of each other
// one why it is none of them. What no Service has is Services' in those alone: kernel
// and bridge have to agree on that, as the one sends back what the other would let
// through.
func (l Local) Whole() (ranges []netip.Prefix, problems []string) {
	for _, r := range l.Ranges {
		why := ""
		if i := slices.IndexFunc(l.Pods, r.Overlaps); i >= 0 {
			why = fmt.Sprintf("overlaps %s of pods", l.Pods[i])
		} else if a := l.nodeIn(r); a.IsValid() {
			why = fmt.Sprintf("contains the address %s of a node", a)
		}
		if why != "" {
			problems = append(problems, fmt.Sprintf("the range %s of Services %s: its addresses are led to the bridge one by one", r, why))
			continue
		}
		ranges = append(ranges, r)
	}
	return ranges, problems
}

// nodeIn returns the first address of a node that lies in a range.
func (l Local) nodeIn(r netip.Prefix) (first netip.Addr) {
	for a := range l.Nodes {
		if r.Contains(a) && (!first.IsValid() || a.Less(first)) {
			first = a
		}
	}
	return first
}

// shared reports whether an address has other uses than a Service's.
func (b *builder) shared(a netip.Addr) bool {
	return b.local.Nodes[a] || slices.ContainsFunc(b.local.Pods, func(r netip.Prefix) bool { return r.Contains(a) })
}

// impossible reports whether an address is none that anybody could be reached at.
// The API server refuses them; who wrote a folder of manifests may not know.
func impossible(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || slices.Contains(route.ServiceHops, a)
}

// add enters a balancer.
func (b *builder) add(key flows.BalancerKey, of balancer) {
	s := b.state
	for _, f := range of.frontends {
		if !f.Addr.IsValid() {
			ports := &s.NodePorts
			if !of.served {
				ports = &s.RefusedNodePorts
			}
			ports[of.family] = append(ports[of.family], route.ServicePort{Protocol: of.protocol, Port: f.Port})
			continue
		}
		if impossible(f.Addr) {
			b.problem("%s: nobody can be reached at %s", key, f.Addr)
			continue
		}
		at := route.AddressPort{Protocol: of.protocol, At: netip.AddrPortFrom(f.Addr, f.Port)}
		within := slices.ContainsFunc(s.Ranges, func(r netip.Prefix) bool { return r.Contains(f.Addr) })
		shared := !within && b.shared(f.Addr)
		if !within && !shared {
			s.Addrs = append(s.Addrs, f.Addr)
		}
		if !of.served {
			s.Refused = append(s.Refused, at)
			continue
		}
		if !shared {
			continue
		}
		if in, ok := b.standIn(f, of); ok {
			s.Shared[at] = in
		} else {
			s.Refused = append(s.Refused, at)
			b.problem("%s: %s is the address of a node or a pod, and the Service has no other one, nor a node port, that lets in the same clients: it is refused there",
				key, f.Addr)
		}
	}
}

// standIn chooses the frontend of the same balancer that the bridge is to see in
// place of one at a shared address: of those that let in the same clients the one
// most like it.
func (b *builder) standIn(f flows.Frontend, of balancer) (netip.AddrPort, bool) {
	best, found := 0, netip.AddrPort{}
	for _, c := range of.frontends {
		if !slices.Equal(c.Sources, f.Sources) {
			continue
		}
		at, likeness := c.Addr, 1
		if !at.IsValid() {
			// Meant for who comes by the node's addresses.
			at, likeness = route.ServiceHops[of.family], 2
		} else if impossible(at) || b.shared(at) {
			continue
		}
		if c.Inside == f.Inside {
			likeness += 2
		}
		if c.Outside == f.Outside {
			likeness += 4
		}
		if likeness > best {
			best, found = likeness, netip.AddrPortFrom(at, c.Port)
		}
	}
	return found, best > 0
}

func comparePorts(a, b route.ServicePort) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}

func compact[T comparable](list []T, compare func(a, b T) int) []T {
	slices.SortFunc(list, compare)
	return slices.Compact(list)
}
