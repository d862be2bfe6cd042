package route

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// dumps is how many times a list is read until one is whole. Reading takes less
// than a millisecond, and pods that come and go change the node's interfaces some
// hundred times a second at most.
const dumps = 20

// Dump returns a list of the kernel's, read again at once while it has changed as
// it was read. What the kernel tells then may lack entries and hold others twice
// (NLM_F_DUMP_INTR of netlink(7)).
func Dump[List any](read func() (List, error)) (List, error) {
	for tries := 1; ; tries++ {
		list, err := read()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || tries == dumps {
			return list, err
		}
	}
}

// dumpAddrs lists the addresses of an interface, of all if it is nil.
func dumpAddrs(link netlink.Link) ([]netlink.Addr, error) {
	return Dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
}

// dumpRoutes lists the routes of a family that are as a filter's in what a mask
// (netlink.RT_FILTER_...) names.
func dumpRoutes(family int, filter *netlink.Route, mask uint64) ([]netlink.Route, error) {
	return Dump(func() ([]netlink.Route, error) { return netlink.RouteListFiltered(family, filter, mask) })
}

// dumpNeighbours lists the neighbours of a family on all interfaces.
func dumpNeighbours(family int) ([]netlink.Neigh, error) {
	return Dump(func() ([]netlink.Neigh, error) { return netlink.NeighList(0, family) })
}
