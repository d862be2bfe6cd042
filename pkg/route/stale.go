package route

import (
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stalePorts are the UDP ports, by family and by their keys in ServiceTable, whose
// rules have changed. UDP has no beginning: a client that goes on sending from the
// same port stays with the entry of connection tracking that it has, and so
// with what the rules said when it came.
type stalePorts [NumFamilies]map[string]struct{}

// note remembers the ports in which two contents of a set or map differ.
func (s *stalePorts) note(family Family, set elementSet, from, to elements) {
	f := &serviceFamilies[family]
	if set != f.nodePorts && set != f.shared {
		return
	}
	if s[family] == nil {
		s[family] = map[string]struct{}{}
	}
	compare := func(a, b elements) {
		for key, value := range a {
			if other, there := b[key]; (!there || other != value) && strings.Contains(key, "udp"+join) {
				s[family][key] = struct{}{}
			}
		}
	}
	compare(from, to)
	compare(to, from)
}

// forgetStale removes connection tracking's entries of the ports noted that are
// not what the rules of a state would make of their next packet. Other entries
// are not touched.
func (s *Services) forgetStale(state *ServiceState) error {
	for family, ports := range s.stale {
		if len(ports) == 0 {
			continue
		}
		local, err := localAddrs()
		if err != nil {
			return err
		}
		filter := staleFilter{ports: ports, local: local, hop: ServiceHops[family], wanted: elements{}}
		f := &serviceFamilies[family]
		for _, c := range f.content(state) {
			if c.set == f.nodePorts || c.set == f.shared {
				maps.Copy(filter.wanted, c.elements)
			}
		}
		of := netlink.InetFamily([NumFamilies]int{unix.AF_INET, unix.AF_INET6}[family])
		_, err = Dump(func() (uint, error) { return netlink.ConntrackDeleteFilters(netlink.ConntrackTable, of, filter) })
		if err != nil {
			return fmt.Errorf("services: remove stale UDP entries of connection tracking: %w", err)
		}
		s.stale[family] = nil
	}
	return nil
}

// staleFilter finds stale entries of one family.
type staleFilter struct {
	ports  map[string]struct{}
	local  map[netip.Addr]bool
	hop    netip.Addr
	wanted elements // of node ports and shared ports, by key
}

// MatchConntrackFlow reports whether an entry is stale.
func (s staleFilter) MatchConntrackFlow(e *netlink.ConntrackFlow) bool {
	// Other zones than the kernel's own are bridges'.
	if e.Zone != 0 || e.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to, _ := netip.AddrFromSlice(e.Forward.DstIP)
	by, _ := netip.AddrFromSlice(e.Reverse.SrcIP) // who answers
	to, by = to.Unmap(), by.Unmap()
	key := AddressPort{e.Forward.Protocol, netip.AddrPortFrom(to, e.Forward.DstPort)}.key()
	if _, ok := s.ports[key]; ok {
		at := by.String() + join + strconv.Itoa(int(e.Reverse.SrcPort))
		if want, ok := s.wanted[key]; ok {
			return at != want
		}
		return by != to
	}
	key = ServicePort{e.Forward.Protocol, e.Forward.DstPort}.key()
	if _, ok := s.ports[key]; ok && s.local[to] && !to.IsLoopback() {
		_, want := s.wanted[key]
		return want != (by == s.hop)
	}
	return false
}

// localAddrs are all addresses of the node.
func localAddrs() (map[netip.Addr]bool, error) {
	all, err := dumpAddrs(nil)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	out := make(map[netip.Addr]bool, len(all))
	for _, a := range all {
		if p, ok := prefix(a.IPNet); ok {
			out[p.Addr()] = true
		}
	}
	return out, nil
}
