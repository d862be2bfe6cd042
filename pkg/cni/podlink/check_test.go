package podlink

import (
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestCheckNamesTheFirstDifference(t *testing.T) {
	eth0 := func(f func(netlink.Link) error) func() error {
		return func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return f(link)
		}
	}
	flush := func(link netlink.Link, family int) error {
		routes, err := netlink.RouteList(link, family)
		for _, r := range routes {
			if r.Gw != nil {
				err = netlink.RouteDel(&r)
			}
		}
		return err
	}
	for _, c := range []struct {
		name  string
		spoil func() error // in the pod's namespace
		want  string
	}{
		{"link gone", eth0(netlink.LinkDel), "interface sltest"},
		{"link down", eth0(netlink.LinkSetDown), "interface eth0 of network namespace /var/run/netns/cnitest"},
		{"renamed", eth0(func(l netlink.Link) error {
			if err := netlink.LinkSetDown(l); err != nil {
				return err
			}
			return netlink.LinkSetName(l, "eth1")
		}), "is not there"},
		{"other MAC", eth0(func(l netlink.Link) error {
			return netlink.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 0, 1})
		}), "has Ethernet address 02:00:00:00:00:01 instead of 0a:58:0a:f4:01:05"},
		{"other MTU", eth0(func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1300) }), "has an MTU of 1300 instead of 1400"},
		{"IPv4 address gone", eth0(func(l netlink.Link) error {
			return netlink.AddrDel(l, &netlink.Addr{IPNet: netlink.NewIPNet(net.ParseIP("10.244.1.5"))})
		}), "lacks address 10.244.1.5"},
		{"IPv6 address gone", eth0(func(l netlink.Link) error {
			return netlink.AddrDel(l, &netlink.Addr{IPNet: netlink.NewIPNet(net.ParseIP("fd00:244:1::5"))})
		}), "lacks address fd00:244:1::5"},
		{"IPv4 default route gone", eth0(func(l netlink.Link) error { return flush(l, netlink.FAMILY_V4) }), "lacks the default route via 10.244.1.1"},
		{"IPv6 default route gone", eth0(func(l netlink.Link) error { return flush(l, netlink.FAMILY_V6) }), "lacks the default route via fd00:244:1::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			netns, l := newNetns(t), dualStack(t)
			create(t, l, netns)
			inside(t, netns, c.spoil)
			if err := l.Check(netns); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Check returned %v, want %q", err, c.want)
			}
		})
	}
}
