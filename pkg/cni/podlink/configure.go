package podlink

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Configure sets up the pod's end: sysctls, checksums, up, addresses, routes.
func (l *Link) Configure(netns ns.NetNS) error {
	err := netns.Do(func(ns.NetNS) error {
		// One socket for all requests, opened in the pod's namespace.
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("opening netlink: %w", err)
		}
		defer h.Close()
		return l.configure(h)
	})
	if err != nil {
		return fmt.Errorf("configuring interface %s in network namespace %s: %w", l.Pod, netns.Path(), err)
	}
	return nil
}

func (l *Link) configure(h *netlink.Handle) error {
	link, err := h.LinkByName(l.Pod)
	if err != nil {
		return fmt.Errorf("finding it: %w", err)
	}
	if l.ChecksumInSoftware {
		if err := checksumInSoftware(l.Pod); err != nil {
			return err
		}
	}
	for _, addr := range l.Addrs {
		if addr.Is6() {
			if err := l.prepareIPv6(); err != nil {
				return err
			}
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing it up: %w", err)
	}
	for _, addr := range l.Addrs {
		if err := l.address(h, link, addr); err != nil {
			return err
		}
	}
	return nil
}

// prepareIPv6 has to come before the interface is up. The addresses are the
// node's to give and unique: no waiting for duplicate address detection (RFC
// 4862 section 5.4), and no addresses or routes from router advertisements.
func (l *Link) prepareIPv6() error {
	for _, s := range []struct{ key, value string }{
		{"disable_ipv6", "0"}, // some runtimes begin with 1
		{"accept_dad", "0"},
		{"accept_ra", "0"},
		{"autoconf", "0"},
	} {
		if err := setSysctl("ipv6", l.Pod, s.key, s.value); err != nil {
			return err
		}
	}
	return nil
}

// setSysctl sets a sysctl of an interface, under net.ipv4.conf or net.ipv6.conf,
// in the namespace of the calling thread. On a kernel without the family it does
// nothing.
func setSysctl(family, ifName, key, value string) error {
	conf := "/proc/sys/net/" + family + "/conf"
	err := os.WriteFile(filepath.Join(conf, ifName, key), []byte(value), 0)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(conf); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("setting sysctl net.%s.conf.%s.%s to %s: %w", family, ifName, key, value, err)
	}
	return nil
}

func (l *Link) address(h *netlink.Handle, link netlink.Link, addr netip.Addr) error {
	a := &netlink.Addr{IPNet: host(addr)}
	if addr.Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := h.AddrAdd(link, a); err != nil {
		return fmt.Errorf("adding address %s: %w", addr, err)
	}
	gw, err := l.Gateway(addr)
	if err != nil {
		return err
	}
	for _, route := range routes(link, gw) {
		if err := h.RouteAdd(route); err != nil {
			return fmt.Errorf("adding route %s: %w", route, err)
		}
	}
	return nil
}

// routes are those of one family: the gateway on the link, the rest through it.
func routes(link netlink.Link, gw netip.Addr) []*netlink.Route {
	index := link.Attrs().Index
	all := &net.IPNet{IP: make(net.IP, gw.BitLen()/8), Mask: net.CIDRMask(0, gw.BitLen())}
	return []*netlink.Route{
		{LinkIndex: index, Dst: host(gw), Scope: netlink.SCOPE_LINK},
		{LinkIndex: index, Dst: all, Gw: gw.AsSlice(), Flags: int(netlink.FLAG_ONLINK)},
	}
}

// checksumInSoftware turns transmit checksum offload off. The kernel then turns
// off segmentation offload too, which builds on it.
func checksumInSoftware(ifName string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("opening the ethtool socket: %w", err)
	}
	defer e.Close()
	if err := e.Change(ifName, map[string]bool{"tx-checksum-ip-generic": false, "tx-checksum-sctp": false}); err != nil {
		return fmt.Errorf("turning transmit checksum offload off: %w", err)
	}
	return nil
}
