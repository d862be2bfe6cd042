package ipam

import (
	"fmt"
	"math"
	"net/netip"
)

// Gateway returns the address that pods of a CIDR use as their next hop: the
// first one after the CIDR's own.
func Gateway(cidr netip.Prefix) netip.Addr { return cidr.Masked().Addr().Next() }

// ServiceSource returns the address of a CIDR that a connection to a Service gets
// as its source where its answers have to come back to this node's bridge: the
// last one that is neither the gateway's nor a broadcast address. Pods never get
// it. It is the zero Addr where that would leave none for a pod.
func ServiceSource(cidr netip.Prefix) netip.Addr {
	if checkCIDR(cidr) != nil || !first(cidr).Less(lastHost(cidr)) {
		return netip.Addr{}
	}
	return lastHost(cidr)
}

// checkCIDR returns an error if no pod can have an address of the CIDR.
func checkCIDR(cidr netip.Prefix) error {
	switch {
	case !cidr.IsValid():
		return fmt.Errorf("podCIDR %q is not a CIDR", cidr)
	case cidr.Addr().Is4In6():
		return fmt.Errorf("podCIDR %s is an IPv4-mapped IPv6 CIDR", cidr)
	case cidr != cidr.Masked():
		return fmt.Errorf("podCIDR %s has bits set after its length, want %s", cidr, cidr.Masked())
	case cidr.Bits() > cidr.Addr().BitLen()-2:
		return fmt.Errorf("podCIDR %s has no address for a pod: want at most /%d", cidr, cidr.Addr().BitLen()-2)
	}
	return nil
}

// first returns the first address a pod can have: after the network's address
// (in IPv6 the subnet-router anycast address, RFC 4291 section 2.6.1) and the
// gateway's.
func first(cidr netip.Prefix) netip.Addr { return Gateway(cidr).Next() }

// last returns the last address a pod can have: the one before ServiceSource, if
// there is that.
func last(cidr netip.Prefix) netip.Addr {
	if source := ServiceSource(cidr); source.IsValid() {
		return source.Prev()
	}
	return lastHost(cidr)
}

// lastHost returns the last address that an interface can have: in IPv4 the one
// before the broadcast address.
func lastHost(cidr netip.Prefix) netip.Addr {
	b := cidr.Addr().AsSlice()
	for bit := cidr.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	if addr.Is4() {
		return addr.Prev()
	}
	return addr
}

// size returns the number of addresses from first to last, at most the largest
// uint64.
func size(cidr netip.Prefix) uint64 {
	host := cidr.Addr().BitLen() - cidr.Bits()
	if host > 64 {
		return math.MaxUint64
	}
	all := uint64(math.MaxUint64) >> (64 - host) // without the network's own
	if cidr.Addr().Is4() {
		all-- // the broadcast address
	}
	if ServiceSource(cidr).IsValid() {
		all--
	}
	return all - 1 // the gateway's
}
