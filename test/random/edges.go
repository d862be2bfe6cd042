package random

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// edgesOf returns the first and the last address of a block and of each of its
// excepts, and those just outside, as far as a packet may carry them.
func (p *prober) edgesOf(b *networkingv1.IPBlock) (edges []netip.Addr) {
	for _, text := range append([]string{b.CIDR}, b.Except...) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			continue // drawn to be invalid
		}
		first, last := prefix.Masked().Addr(), lastOf(prefix)
		for _, a := range []netip.Addr{first, last, first.Prev(), last.Next()} {
			if p.usable(a) {
				edges = append(edges, a)
			}
		}
	}
	return edges
}

// usable reports whether a packet may carry an address that is no pod's: an
// ordinary unicast address that the node does not keep for its own pods.
func (p *prober) usable(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.Is4In6() {
		return false
	}
	return !slices.ContainsFunc(unusable, func(u netip.Prefix) bool { return u.Contains(a) })
}

var unusable = func() (prefixes []netip.Prefix) {
	for _, text := range append(podCIDRs(0), "0.0.0.0/8", "240.0.0.0/4", "::/8") {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}()

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// edgesOfPort returns the ends of a port or range, their neighbours and its
// middle; for a port without a number, any port of the protocol.
func edgesOfPort(port networkingv1.NetworkPolicyPort) (services []service) {
	protocol := corev1.ProtocolTCP
	if port.Protocol != nil && slices.Contains(protocols, *port.Protocol) {
		protocol = *port.Protocol
	}
	if port.Port == nil {
		return []service{{protocol, 80}, {protocol, 1}, {protocol, 65535}}
	}
	if port.Port.Type == intstr.String {
		return nil
	}
	first, last := port.Port.IntVal, port.Port.IntVal
	if port.EndPort != nil {
		last = *port.EndPort
	}
	for _, n := range []int32{first, last, (first + last) / 2, first - 1, last + 1} {
		if n > 0 && n < 1<<16 {
			services = append(services, service{protocol, uint16(n)})
		}
	}
	return services
}
