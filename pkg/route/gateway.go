// Package route sets up the node's own network stack: the gateway port's
// interface, its addresses, and with them the routes to the node's pods.
package route

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
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
	// Only what the bridge's flows send here arrives, and the node must not learn
	// addresses or routes from pods.
	for key, value := range map[string]string{"accept_ra": "0", "autoconf": "0", "accept_dad": "0", "forwarding": "1"} {
		if err := setSysctl(filepath.Join("net/ipv6/conf", g.Name, key), value); err != nil {
			return 0, fmt.Errorf("gateway %s: %w", g.Name, err)
		}
	}
	if err := setSysctl(filepath.Join("net/ipv4/conf", g.Name, "forwarding"), "1"); err != nil {
		return 0, fmt.Errorf("gateway %s: %w", g.Name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("gateway %s: set up: %w", g.Name, err)
	}
	return index, g.ensureAddrs(link)
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
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
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
		a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
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
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the node's addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range all {
		if p, ok := prefix(a.IPNet); ok && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p.Addr())
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

// Watch calls changed after addresses of the node have come or gone, until ctx
// is done.
func Watch(ctx context.Context, changed func()) error {
	updates := make(chan netlink.AddrUpdate, 64)
	if err := netlink.AddrSubscribe(updates, ctx.Done()); err != nil {
		return fmt.Errorf("follow the node's addresses: %w", err)
	}
	go func() {
		for range updates {
			changed()
		}
	}()
	return nil
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

// setSysctl writes a sysctl unless it has the value already, so that a read-only
// /proc/sys that is right does no harm. A family the kernel lacks is no error.
func setSysctl(key, value string) error {
	path := filepath.Join("/proc/sys", key)
	old, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err == nil && string(old) == value+"\n" {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", key, value, err)
	}
	return nil
}
