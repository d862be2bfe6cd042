// Command veth is the least that a CNI plugin has to do for a pod: a veth pair,
// an address, a default route. It is what ADD is held against.
//
//	veth NETNS HOST-INTERFACE ADDRESS GATEWAY
package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

func main() {
	// As the real plugin: the process lives for one request.
	debug.SetGCPercent(-1)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "veth:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("want NETNS HOST-INTERFACE ADDRESS GATEWAY")
	}
	addr, err := netip.ParseAddr(args[2])
	if err != nil {
		return err
	}
	gateway, err := netip.ParseAddr(args[3])
	if err != nil {
		return err
	}
	pod, err := netns.GetFromPath(args[0])
	if err != nil {
		return fmt.Errorf("open %s: %w", args[0], err)
	}
	defer pod.Close()
	host := args[1]
	if err := netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: host, MTU: 1500}, PeerName: "eth0", PeerNamespace: netlink.NsFd(pod),
	}); err != nil {
		return fmt.Errorf("add %s: %w", host, err)
	}
	link, err := netlink.LinkByName(host)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	h, err := netlink.NewHandleAt(pod)
	if err != nil {
		return err
	}
	defer h.Close()
	eth0, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := h.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(32, 32)}}); err != nil {
		return err
	}
	if err := h.LinkSetUp(eth0); err != nil {
		return err
	}
	return h.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK)})
}
