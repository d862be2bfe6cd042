package route

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Protocol is the routing protocol number (rtnetlink(7), rtm_protocol) of the
// routes that are Sluice's: what bears it and is not wanted is removed, and what
// bears another is never touched. It is none of those that iproute2 names.
const Protocol netlink.RouteProtocol = 83

// Route is a way to other nodes' pods, or to Services.
type Route struct {
	// To is the range of addresses.
	To netip.Prefix
	// Via is the next hop; the zero address if the range is on the link.
	Via netip.Addr
	// Dev is the name of the interface by which to leave.
	Dev string
	// Source is the address that the node's own packets have there unless their
	// sender says otherwise; the zero address leaves it to the kernel.
	Source netip.Addr
	// OnLink says that Via is reached by Dev though no address of Dev tells so.
	OnLink bool
	// ViaMAC is the Ethernet address of Via, or of the one address of a range on the
	// link, for where nobody answers for it; nil leaves it to be found.
	ViaMAC net.HardwareAddr
}

// String is the route as ip-route(8) takes it.
func (r Route) String() string {
	s := r.To.String()
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	s += " dev " + r.Dev
	if r.OnLink {
		s += " onlink"
	}
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	return s
}

// next is the address that packets are sent to on the link, where that is one.
func (r Route) next() netip.Addr {
	if r.Via.IsValid() {
		return r.Via
	}
	return r.To.Addr()
}

// SetRoutes makes the routes of Protocol in the main table, but for those of
// Services, the ones that are given, and returns how many it changed. What can't be
// done for one route is in the error, and keeps none of the others from being set.
func SetRoutes(want []Route) (changed int, err error) { return setRoutes(want, notOfServices) }

// setRoutes makes those of the routes that mine tells of the ones that are given.
func setRoutes(want []Route, mine func(*netlink.Route) bool) (changed int, err error) {
	have, err := ownRoutes(mine)
	if err != nil {
		return 0, err
	}
	links, err := linkIndexes()
	if err != nil {
		return 0, err
	}
	var errs []error
	wanted := make(map[netip.Prefix]bool, len(want))
	for _, w := range want {
		wanted[w.To] = true
		done, err := setRoute(w, have[w.To], links)
		if err == nil && w.ViaMAC != nil {
			err = setNeighbour(links[w.Dev], w.Dev, w.next(), w.ViaMAC)
		}
		if err != nil {
			errs = append(errs, err)
		} else if done {
			changed++
		}
	}
	for to, routes := range have {
		if wanted[to] {
			continue
		}
		for _, r := range routes {
			if err := removeRoute(r); err != nil {
				errs = append(errs, err)
			} else {
				changed++
			}
		}
	}
	return changed, errors.Join(errs...)
}

// setRoute brings a route about, given those to the same range that are ours.
func setRoute(want Route, have []netlink.Route, links map[string]int) (changed bool, err error) {
	index, ok := links[want.Dev]
	if !ok {
		return false, fmt.Errorf("add route %s: there is no interface %s", want, want.Dev)
	}
	r := want.route(index)
	there := slices.IndexFunc(have, func(h netlink.Route) bool { return same(&h, r) })
	for i, h := range have {
		if i == there {
			continue
		}
		// Not replaced in place: which route is then replaced depends on the family
		// and on what others have added.
		if err := removeRoute(h); err != nil {
			return false, err
		}
	}
	if there >= 0 {
		return len(have) > 1, nil
	}
	if err := netlink.RouteAdd(r); errors.Is(err, unix.EEXIST) {
		return false, fmt.Errorf("add route %s: there is one to %s already that is not of the sluice-agent", want, want.To)
	} else if err != nil {
		return false, fmt.Errorf("add route %s: %w", want, err)
	}
	return true, nil
}

// route is the route as the kernel has it, by the interface of an index.
func (r Route) route(index int) *netlink.Route {
	out := &netlink.Route{Dst: ipNet(r.To), LinkIndex: index, Protocol: Protocol, Table: unix.RT_TABLE_MAIN}
	if r.Via.IsValid() {
		out.Gw = r.Via.AsSlice()
	} else if r.To.Addr().Is4() {
		out.Scope = netlink.SCOPE_LINK
	}
	if r.OnLink {
		out.Flags = int(netlink.FLAG_ONLINK)
	}
	if r.Source.IsValid() {
		out.Src = r.Source.AsSlice()
	}
	return out
}

// setNeighbour makes the permanent neighbour entry of an address, which ends with
// its interface.
func setNeighbour(index int, dev string, at netip.Addr, mac net.HardwareAddr) error {
	family := netlink.FAMILY_V6
	if at.Is4() {
		family = netlink.FAMILY_V4
	}
	n := &netlink.Neigh{LinkIndex: index, Family: family, State: netlink.NUD_PERMANENT, IP: at.AsSlice(), HardwareAddr: mac}
	if err := netlink.NeighSet(n); err != nil {
		return fmt.Errorf("neighbour entry of %s on %s: %w", at, dev, err)
	}
	return nil
}

// same compares what Route says.
func same(a, b *netlink.Route) bool {
	return a.LinkIndex == b.LinkIndex && a.Gw.Equal(b.Gw) && a.Src.Equal(b.Src) && a.Flags&int(netlink.FLAG_ONLINK) == b.Flags&int(netlink.FLAG_ONLINK)
}

// removeRoute removes a route as the kernel has listed it. One that is gone is no
// error.
func removeRoute(r netlink.Route) error {
	r.Flags = 0 // of a listed route some are not asked for but told
	if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove route to %s: %w", r.Dst, err)
	}
	return nil
}

// ownRoutes lists those routes of Protocol that mine tells of, by where they lead.
func ownRoutes(mine func(*netlink.Route) bool) (map[netip.Prefix][]netlink.Route, error) {
	out := map[netip.Prefix][]netlink.Route{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rs, err := dumpRoutes(family, &netlink.Route{Protocol: Protocol, Table: unix.RT_TABLE_MAIN},
			netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range rs {
			if r.Dst == nil || !mine(&r) {
				continue
			}
			if to, ok := prefix(r.Dst); ok {
				out[to] = append(out[to], r)
			}
		}
	}
	return out, nil
}

func linkIndexes() (map[string]int, error) {
	links, err := Dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	out := make(map[string]int, len(links))
	for _, l := range links {
		out[l.Attrs().Name] = l.Attrs().Index
	}
	return out, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
