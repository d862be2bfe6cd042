package podlink

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Check compares the pair with what Create and Configure make, and reports the
// first difference. Whatever else is there, other plugins may have added. With
// an MTU of 0 any will do.
func (l *Link) Check(netns ns.NetNS) error {
	hostEnd, err := netlink.LinkByName(l.Host)
	if err != nil {
		return fmt.Errorf("interface %s of the host: %w", l.Host, err)
	}
	if err := checkEnd(hostEnd); err != nil {
		return fmt.Errorf("interface %s of the host %w", l.Host, err)
	}
	err = netns.Do(func(ns.NetNS) error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("cannot be looked at: opening netlink: %w", err)
		}
		defer h.Close()
		return l.checkPod(h, hostEnd.Attrs().Index)
	})
	if err != nil {
		return fmt.Errorf("interface %s of network namespace %s %w", l.Pod, netns.Path(), err)
	}
	return nil
}

func (l *Link) checkPod(h *netlink.Handle, hostIndex int) error {
	link, err := h.LinkByName(l.Pod)
	if err != nil {
		return fmt.Errorf("is not there: %w", err)
	}
	if err := checkEnd(link); err != nil {
		return err
	}
	attrs := link.Attrs()
	if l.MTU != 0 && attrs.MTU != l.MTU {
		return fmt.Errorf("has an MTU of %d instead of %d bytes", attrs.MTU, l.MTU)
	}
	if !bytes.Equal(attrs.HardwareAddr, l.MAC) {
		return fmt.Errorf("has Ethernet address %s instead of %s", attrs.HardwareAddr, l.MAC)
	}
	if peer := attrs.ParentIndex; peer != hostIndex {
		return fmt.Errorf("is not the peer of %s: its peer has index %d instead of %d", l.Host, peer, hostIndex)
	}
	for _, addr := range l.Addrs {
		if err := l.checkAddress(h, link, addr); err != nil {
			return err
		}
	}
	return nil
}

func checkEnd(link netlink.Link) error {
	if link.Type() != "veth" {
		return fmt.Errorf("is a %s, no veth", link.Type())
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return errors.New("is down")
	}
	return nil
}

func (l *Link) checkAddress(h *netlink.Handle, link netlink.Link, addr netip.Addr) error {
	gw, err := l.Gateway(addr)
	if err != nil {
		return err
	}
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	addrs, err := h.AddrList(link, family)
	if err != nil {
		return fmt.Errorf("cannot be looked at: listing addresses: %w", err)
	}
	if !hasAddress(addrs, addr) {
		return fmt.Errorf("lacks address %s", addr)
	}
	actual, err := h.RouteList(link, family)
	if err != nil {
		return fmt.Errorf("cannot be looked at: listing routes: %w", err)
	}
	for _, want := range routes(link, gw) {
		if !hasRoute(actual, want) {
			if want.Gw == nil {
				return fmt.Errorf("lacks the route to its gateway %s", gw)
			}
			return fmt.Errorf("lacks the default route via %s", gw)
		}
	}
	return nil
}

func hasAddress(addrs []netlink.Addr, want netip.Addr) bool {
	for _, a := range addrs {
		if a.IP.Equal(want.AsSlice()) && a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 {
			return true
		}
	}
	return false
}

func hasRoute(actual []netlink.Route, want *netlink.Route) bool {
	for _, r := range actual {
		if r.Dst != nil && r.Dst.String() == want.Dst.String() && r.Gw.Equal(want.Gw) {
			return true
		}
	}
	return false
}
