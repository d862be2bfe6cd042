package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ofServices reports whether a route of Protocol is one to ServiceHops, or by one.
func ofServices(r *netlink.Route) bool {
	if gw, ok := netip.AddrFromSlice(r.Gw); ok && slices.Contains(ServiceHops, gw.Unmap()) {
		return true
	}
	to, ok := prefix(r.Dst)
	return ok && to.IsSingleIP() && slices.Contains(ServiceHops, to.Addr())
}

func notOfServices(r *netlink.Route) bool { return !ofServices(r) }

// ensureRoutes makes the kernel send what is for Services to the bridge.
func (s *Services) ensureRoutes(state *ServiceState) (changed bool, err error) {
	n, err := setRoutes(s.routes(state), ofServices)
	return n > 0, errors.Join(err, s.ensureNeighbours(state))
}

// ensureNeighbours makes permanent neighbour entries of the bridge's own addresses:
// nobody answers for those either.
func (s *Services) ensureNeighbours(state *ServiceState) error {
	if len(state.Bridge) == 0 {
		return nil
	}
	gateway, err := netlink.LinkByName(s.gateway)
	if err != nil {
		return fmt.Errorf("services: find gateway %s: %w", s.gateway, err)
	}
	var errs []error
	for _, a := range state.Bridge {
		errs = append(errs, setNeighbour(gateway.Attrs().Index, s.gateway, a, s.mac))
	}
	return errors.Join(errs...)
}

// routes are those of a state: of each family one to the hop, which has a
// permanent neighbour entry since nobody answers for it, and by it one to each
// range and address. Of an address that lies in a range there is none.
func (s *Services) routes(state *ServiceState) []Route {
	var out []Route
	for _, source := range state.Sources {
		hop := ServiceHops[FamilyOf(source)]
		out = append(out, Route{To: single(hop), Dev: s.gateway, ViaMAC: s.mac})
		for _, to := range outermost(slices.Concat(state.Ranges, singles(state.Addrs)), sameFamily(source)) {
			out = append(out, Route{To: to, Via: hop, Dev: s.gateway, OnLink: true, Source: source})
		}
	}
	return out
}

func sameFamily(a netip.Addr) func(netip.Addr) bool {
	return func(b netip.Addr) bool { return a.BitLen() == b.BitLen() }
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func singles(addrs []netip.Addr) []netip.Prefix {
	out := make([]netip.Prefix, len(addrs))
	for i, a := range addrs {
		out[i] = single(a)
	}
	return out
}

// removeHops removes the neighbour entries of ServiceHops, wherever they are.
func removeHops() error {
	all, err := dumpNeighbours(netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	var errs []error
	for _, n := range all {
		at, ok := netip.AddrFromSlice(n.IP)
		if !ok || !slices.Contains(ServiceHops, at.Unmap()) {
			continue
		}
		if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove neighbour entry of %s: %w", at, err))
		}
	}
	return errors.Join(errs...)
}
