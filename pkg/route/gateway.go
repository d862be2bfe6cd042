// Package route sets up the node's own network stack: the gateway port's
// interface with its addresses, and with them the routes to the node's pods;
// routes to other nodes' pods; the source address of what pods send to outside of
// the cluster; and the sysctls these need.
//
// Every part compares what there is with what there should be and writes the
// difference, so that doing it again, and again, costs a look.
package route

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateway is the interface by which the node's network stack reaches pods.
type Gateway struct {
	// Name is the interface's name.
	Name string
	// Addrs are its addresses with the length of the pod range each is from, which
	// makes the kernel route the range to it.
	Addrs []netip.Prefix
	// MTU in bytes.
	MTU int
}

// linkPoll is how often Ensure looks for an interface that ovs-vswitchd is about
// to make.
const linkPoll = 10 * time.Millisecond

// Ensure brings the interface to what Gateway says and returns its index:
// addresses that are not listed go, missing ones come, and the interface is up.
// It waits for the interface until ctx is done.
func (g Gateway) Ensure(ctx context.Context) (int, error) {
	link, err := g.wait(ctx)
	if err != nil {
		return 0, err
	}
	index := link.Attrs().Index
	if g.MTU > 0 && link.Attrs().MTU != g.MTU {
		if err := netlink.LinkSetMTU(link, g.MTU); err != nil {
			return 0, fmt.Errorf("gateway %s: set MTU %d: %w", g.Name, g.MTU, err)
		}
	}
	if err := setSysctls(g.sysctls()); err != nil {
		return 0, fmt.Errorf("gateway %s: %w", g.Name, err)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			return 0, fmt.Errorf("gateway %s: set up: %w", g.Name, err)
		}
	}
	return index, g.ensureAddrs(link)
}

// sysctls are what the interface needs.
func (g Gateway) sysctls() map[string]string {
	v4, v6 := filepath.Join("net/ipv4/conf", g.Name), filepath.Join("net/ipv6/conf", g.Name)
	return map[string]string{
		// Only what the bridge's flows send here arrives, and the node must not learn
		// addresses or routes from pods.
		filepath.Join(v6, "accept_ra"):  "0",
		filepath.Join(v6, "autoconf"):   "0",
		filepath.Join(v6, "accept_dad"): "0",
		filepath.Join(v4, "forwarding"): "1",
		filepath.Join(v6, "forwarding"): "1",
		// The bridge has checked whose address a packet bears. The kernel's strict
		// check (RFC 3704), which looks for a route back by the same interface, can
		// only do harm: packets of other nodes' pods come out of the tunnel before the
		// route to that node is there, or though it leads elsewhere. Loose, 2, is what
		// counts whatever net.ipv4.conf.all.rp_filter is: of the two the larger one.
		filepath.Join(v4, "rp_filter"): "2",
	}
}

func (g Gateway) wait(ctx context.Context) (netlink.Link, error) {
	tick := time.NewTicker(linkPoll)
	defer tick.Stop()
	for {
		link, err := netlink.LinkByName(g.Name)
		if err == nil {
			return link, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("gateway %s: the interface does not appear: %w", g.Name, err)
		}
	}
}

func (g Gateway) ensureAddrs(link netlink.Link) error {
	have, err := dumpAddrs(link)
	if err != nil {
		return fmt.Errorf("gateway %s: list addresses: %w", g.Name, err)
	}
	var there []netip.Prefix
	for _, a := range have {
		p, ok := prefix(a.IPNet)
		if !ok || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if slices.Contains(g.Addrs, p) {
			there = append(there, p)
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("gateway %s: remove address %s: %w", g.Name, p, err)
		}
	}
	for _, p := range g.Addrs {
		if slices.Contains(there, p) {
			continue
		}
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return fmt.Errorf("gateway %s: add address %s: %w", g.Name, p, err)
		}
	}
	return nil
}

// NodeAddrs returns the addresses of all interfaces of the node, but for
// loopback and link-local ones: what the node may use as a source towards its
// pods.
func NodeAddrs() ([]netip.Addr, error) {
	all, err := dumpAddrs(nil)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range all {
		if p, ok := prefix(a.IPNet); ok && outward(p.Addr()) {
			out = append(out, p.Addr())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, bits := n.Mask.Size()
	if a = a.Unmap(); a.BitLen() != bits {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, ones), true
}
