package route

import (
	"net/netip"
	"slices"
	"strconv"

	"sigs.k8s.io/knftables"
)

// serviceFamily is what ServiceTable has of one family.
type serviceFamily struct {
	proto string // the family as nft calls it
	hop   netip.Addr
	// outward excludes loopback: what has a loopback source can't be sent anywhere,
	// and the ports there are the node's own. Nor can a link-local source be
	// forwarded.
	outward string
	// ranges and addrs are what belongs to Services as a whole, the hop included.
	// Addresses have a set of their own: one that holds intervals gets slow to
	// write when there are thousands.
	ranges, addrs               elementSet
	nodePorts, refusedNodePorts elementSet
	shared, refused             elementSet
}

var serviceFamilies = [NumFamilies]serviceFamily{
	IPv4: newServiceFamily(IPv4, "ip", "-4", "ip saddr != 127.0.0.0/8 ip daddr != 127.0.0.0/8"),
	IPv6: newServiceFamily(IPv6, "ip6", "-6", "ip6 saddr != { ::1, fe80::/10 } ip6 daddr != ::1"),
}

func newServiceFamily(f Family, proto, suffix, outward string) serviceFamily {
	return serviceFamily{
		proto: proto, hop: ServiceHops[f], outward: outward,
		ranges:           elementSet{"set", "service-ranges" + suffix, -1},
		addrs:            elementSet{"set", "service-addresses" + suffix, -1},
		nodePorts:        elementSet{"set", "node-ports" + suffix, 0},
		refusedNodePorts: elementSet{"set", "refused-node-ports" + suffix, 0},
		shared:           elementSet{"map", "shared-ports" + suffix, 1},
		refused:          elementSet{"set", "refused-ports" + suffix, 1},
	}
}

// all are the sets and maps of a family.
func (f *serviceFamily) all() []elementSet {
	return []elementSet{f.ranges, f.addrs, f.nodePorts, f.refusedNodePorts, f.shared, f.refused}
}

// define makes them.
func (f *serviceFamily) define(tx *knftables.Transaction) {
	const port = "inet_proto . inet_service"
	addr := "ipv6_addr"
	if f.hop.Is4() {
		addr = "ipv4_addr"
	}
	tx.Add(&knftables.Set{Name: f.ranges.name, Type: addr, Flags: []knftables.SetFlag{knftables.IntervalFlag}})
	tx.Add(&knftables.Set{Name: f.addrs.name, Type: addr})
	tx.Add(&knftables.Set{Name: f.nodePorts.name, Type: port})
	tx.Add(&knftables.Set{Name: f.refusedNodePorts.name, Type: port})
	tx.Add(&knftables.Map{Name: f.shared.name, Type: addr + join + port + " : " + addr + join + "inet_service"})
	tx.Add(&knftables.Set{Name: f.refused.name, Type: addr + join + port})
}

// content is a set or map with what is in it.
type content struct {
	set      elementSet
	elements elements
}

// content is what the sets of a family, in the order of all, should hold in a
// state.
func (f *serviceFamily) content(state *ServiceState) []content {
	family := FamilyOf(f.hop)
	of := sameFamily(f.hop)
	if !slices.ContainsFunc(state.Sources, of) {
		state = &ServiceState{} // not led to the bridge, nor anything refused
	}
	addrs, shared, refused := elements{f.hop.String(): ""}, elements{}, elements{}
	for _, a := range state.Addrs {
		if of(a) {
			addrs[a.String()] = ""
		}
	}
	for at, to := range state.Shared {
		if of(at.At.Addr()) && of(to.Addr()) {
			shared[at.key()] = to.Addr().String() + join + strconv.Itoa(int(to.Port()))
		}
	}
	for _, at := range state.Refused {
		if of(at.At.Addr()) {
			refused[at.key()] = ""
		}
	}
	return []content{
		{f.ranges, keys(state.Ranges, of)},
		{f.addrs, addrs},
		{f.nodePorts, portKeys(state.NodePorts[family])},
		{f.refusedNodePorts, portKeys(state.RefusedNodePorts[family])},
		{f.shared, shared},
		{f.refused, refused},
	}
}

func portKeys(ports []ServicePort) elements {
	out := make(elements, len(ports))
	for _, p := range ports {
		out[p.key()] = ""
	}
	return out
}

// key is the port as a set has it.
func (p ServicePort) key() string {
	return protocolName(strconv.Itoa(int(p.Protocol))) + join + strconv.Itoa(int(p.Port))
}

func (p AddressPort) key() string {
	return p.At.Addr().String() + join + ServicePort{p.Protocol, p.At.Port()}.key()
}
