package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is an interface of the node by which it reaches others.
type Interface struct {
	Name string
	// MTU in bytes.
	MTU int
	// Addrs are its addresses with the lengths of their subnets, without loopback
	// and link-local ones.
	Addrs []netip.Prefix
	// Default is true if a default route leads out by it.
	Default bool
}

// Interfaces lists the node's interfaces that have an address, in the order of
// their indexes, but for the one named: the gateway.
func Interfaces(but string) ([]Interface, error) {
	links, err := Dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	all, err := dumpAddrs(nil)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	addrs := map[int][]netip.Prefix{}
	for _, a := range all {
		if p, ok := prefix(a.IPNet); ok && outward(p.Addr()) {
			addrs[a.LinkIndex] = append(addrs[a.LinkIndex], p)
		}
	}
	defaults, err := defaultLinks()
	if err != nil {
		return nil, err
	}
	var out []Interface
	slices.SortFunc(links, func(a, b netlink.Link) int { return a.Attrs().Index - b.Attrs().Index })
	for _, l := range links {
		at := l.Attrs()
		if at.Name != but && len(addrs[at.Index]) > 0 {
			out = append(out, Interface{Name: at.Name, MTU: at.MTU, Addrs: addrs[at.Index], Default: defaults[at.Index]})
		}
	}
	return out, nil
}

// outward reports whether an address says something about who else is reached.
func outward(a netip.Addr) bool { return !a.IsLoopback() && !a.IsLinkLocalUnicast() }

// LocalAddrs returns the addresses that the node takes for its own by its routes, but for
// loopback and link-local ones. Not all are on an interface: so it is where the agent of
// a cloud has the node take what a load balancer passes on.
func LocalAddrs() ([]netip.Addr, error) {
	var out []netip.Addr
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rs, err := dumpRoutes(family, &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL},
			netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return nil, fmt.Errorf("list local routes: %w", err)
		}
		for _, r := range rs {
			if r.Dst == nil {
				continue
			}
			if to, ok := prefix(r.Dst); ok && to.IsSingleIP() && outward(to.Addr()) {
				out = append(out, to.Addr())
			}
		}
	}
	return out, nil
}

// defaultLinks are the indexes of interfaces that default routes lead out by.
func defaultLinks() (map[int]bool, error) {
	out := map[int]bool{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rs, err := dumpRoutes(family, &netlink.Route{Table: unix.RT_TABLE_MAIN, Dst: nil},
			netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return nil, fmt.Errorf("list default routes: %w", err)
		}
		for _, r := range rs {
			out[r.LinkIndex] = true
			for _, hop := range r.MultiPath {
				out[hop.LinkIndex] = true
			}
		}
	}
	delete(out, 0)
	return out, nil
}
