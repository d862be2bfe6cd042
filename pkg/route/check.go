package route

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Check returns in what the interface differs from what Ensure would make of it,
// without changing anything. Sysctls are CheckSysctls'.
func (g Gateway) Check() ([]string, error) {
	link, err := netlink.LinkByName(g.Name)
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", g.Name, err)
	}
	var found []string
	differ := func(format string, args ...any) {
		found = append(found, fmt.Sprintf("gateway %s: "+format, append([]any{g.Name}, args...)...))
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		differ("the interface is down")
	}
	if g.MTU > 0 && link.Attrs().MTU != g.MTU {
		differ("MTU is %d, should be %d", link.Attrs().MTU, g.MTU)
	}
	have, err := dumpAddrs(link)
	if err != nil {
		return nil, fmt.Errorf("gateway %s: list addresses: %w", g.Name, err)
	}
	var there []netip.Prefix
	for _, a := range have {
		p, ok := prefix(a.IPNet)
		if !ok || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		there = append(there, p)
		if !slices.Contains(g.Addrs, p) {
			differ("address %s should not be there", p)
		}
	}
	for _, p := range g.Addrs {
		if !slices.Contains(there, p) {
			differ("address %s is missing", p)
		}
	}
	return found, nil
}

// CheckSysctls returns the sysctls that the gateway and forwarding of the given
// families need and that have another value.
func (g Gateway) CheckSysctls(v4, v6 bool) []string {
	want := g.sysctls()
	if v4 {
		want["net/ipv4/ip_forward"] = "1"
	}
	if v6 {
		want["net/ipv6/conf/all/forwarding"] = "1"
	}
	var found []string
	for _, key := range slices.Sorted(maps.Keys(want)) {
		// A family that the kernel lacks has none.
		if is := sysctl(key); is != "" && is != want[key] {
			found = append(found, fmt.Sprintf("sysctl %s is %s, should be %s", key, is, want[key]))
		}
	}
	return found
}

// SourceChecked reports whether the kernel checks the sources of packets that
// come in by an interface strictly (RFC 3704, rp_filter 1), IPv4 alone.
func SourceChecked(name string) bool {
	return max(sysctl("net/ipv4/conf/all/rp_filter"), sysctl(filepath.Join("net/ipv4/conf", name, "rp_filter"))) == "1"
}

// CheckRoutes returns which of the routes are missing or otherwise, which of
// Protocol, but for those of Services, should not be there, and which next hops are known not to answer.
func CheckRoutes(want []Route) ([]string, error) {
	have, err := ownRoutes(notOfServices)
	if err != nil {
		return nil, err
	}
	links, err := linkIndexes()
	if err != nil {
		return nil, err
	}
	silent, err := silentNeighbours()
	if err != nil {
		return nil, err
	}
	var found []string
	wanted := map[netip.Prefix]bool{}
	for _, w := range want {
		wanted[w.To] = true
		r := w.route(links[w.Dev])
		if !slices.ContainsFunc(have[w.To], func(h netlink.Route) bool { return same(&h, r) }) {
			found = append(found, fmt.Sprintf("route %s is missing", w))
		}
		if silent[hop{links[w.Dev], w.Via}] {
			found = append(found, fmt.Sprintf("route %s: the next hop does not answer on %s", w, w.Dev))
		}
	}
	for to := range have {
		if !wanted[to] {
			found = append(found, fmt.Sprintf("route to %s should not be there", to))
		}
	}
	slices.Sort(found)
	return found, nil
}

// CheckHop returns an error if the kernel knows no way to an address, or knows
// that its next hop does not answer.
func CheckHop(to netip.Addr) error {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(routes) == 0 {
		return fmt.Errorf("no route to %s: %w", to, err)
	}
	via := to
	if gw, ok := netip.AddrFromSlice(routes[0].Gw); ok {
		via = gw.Unmap()
	}
	silent, err := silentNeighbours()
	if err != nil {
		return err
	}
	if silent[hop{routes[0].LinkIndex, via}] {
		return fmt.Errorf("%s, on the way to %s, answers neither ARP nor neighbour discovery", via, to)
	}
	return nil
}

// hop is a next hop on an interface.
type hop struct {
	link int
	addr netip.Addr
}

// silentNeighbours are those that were asked for and did not answer.
func silentNeighbours() (map[hop]bool, error) {
	out := map[hop]bool{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		ns, err := dumpNeighbours(family)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return nil, fmt.Errorf("list neighbours: %w", err)
		}
		for _, n := range ns {
			if a, ok := netip.AddrFromSlice(n.IP); ok && n.State&netlink.NUD_FAILED != 0 {
				out[hop{n.LinkIndex, a.Unmap()}] = true
			}
		}
	}
	return out, nil
}

// Check returns in what the kernel's table differs from what Ensure would make of
// it, without changing anything.
func (m *Masquerade) Check(ctx context.Context, own, all []netip.Prefix) ([]string, error) {
	whole, err := m.whole(ctx)
	if err != nil {
		return nil, fmt.Errorf("read table inet %s: %w", Table, err)
	}
	if !whole {
		return []string{fmt.Sprintf("table inet %s: sets, chain or rules are not as they should be", Table)}, nil
	}
	var found []string
	for _, f := range families {
		for _, s := range []struct {
			set  string
			want []netip.Prefix
		}{{f.own, own}, {f.all, append(slices.Clone(own), all...)}} {
			have, err := elementSet{kind: "set", name: s.set, protocol: -1}.read(ctx, m.nft)
			if err != nil {
				return nil, fmt.Errorf("read set %s of table inet %s: %w", s.set, Table, err)
			}
			want := keys(s.want, f.of)
			for k := range want {
				if _, there := have[k]; !there {
					found = append(found, fmt.Sprintf("set %s: %s is missing", s.set, k))
				}
			}
			for k := range have {
				if _, wanted := want[k]; !wanted {
					found = append(found, fmt.Sprintf("set %s: %s should not be there", s.set, k))
				}
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

// HardwareAddr returns the Ethernet address of an interface.
func HardwareAddr(name string) (net.HardwareAddr, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return link.Attrs().HardwareAddr, nil
}

// Check returns an error if the table is not as Ensure makes it: its sets, chains
// and rules. What is in the sets it does not look at. It is for a Services of its
// own, not for the one that ensures.
func (s *Services) Check(ctx context.Context) error {
	if err := s.look(ctx, CheckAll); err != nil {
		return fmt.Errorf("read table inet %s: %w", ServiceTable, err)
	}
	if s.known == nil {
		return fmt.Errorf("table inet %s: sets, chains or rules are not as they should be", ServiceTable)
	}
	return nil
}
