package testbed

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/test/netns"
)

// Control is the name of the control plane's network namespace.
const Control = "control"

// uplink is the name of the nodes' interface.
const uplink = "eth0"

// forwarding are the settings of a network namespace that forwards. A kernel without
// IPv6 lacks some.
var forwarding = []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding"}

// makeNetwork makes all network namespaces and the links between them.
func (c *Cluster) makeNetwork() error {
	control, err := netns.Create(c.netnsPath(Control))
	if err != nil {
		return err
	}
	if err := control.Do(c.setUpControl); err != nil {
		return fmt.Errorf("set up the network of %s: %w", Control, err)
	}
	for i := range c.Plan.Nodes {
		if err := c.connect(control, &c.Plan.Nodes[i]); err != nil {
			return fmt.Errorf("set up the network of %s: %w", c.Plan.Nodes[i].Name, err)
		}
	}
	return nil
}

// setUpControl makes the bridges that nodes are on.
func (c *Cluster) setUpControl() error {
	if err := forward(); err != nil {
		return err
	}
	for _, s := range c.Plan.Subnets {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: s.Name, MTU: c.Options.MTU}}
		if err := netlink.LinkAdd(bridge); err != nil {
			return fmt.Errorf("make bridge %s: %w", s.Name, err)
		}
		if err := up(bridge, s.Router); err != nil {
			return err
		}
	}
	return nil
}

// connect makes a node's namespace and its link to its subnet.
func (c *Cluster) connect(control *netns.Netns, n *Node) error {
	node, err := netns.Create(c.netnsPath(n.Name))
	if err != nil {
		return err
	}
	subnet := c.Plan.Subnets[n.Subnet]
	var peer *os.File
	err = node.Do(func() error {
		peer, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return err
	}
	defer peer.Close()
	err = control.Do(func() error {
		bridge, err := netlink.LinkByName(subnet.Name)
		if err != nil {
			return err
		}
		link := netlink.NewVeth(netlink.LinkAttrs{
			Name: n.Name, MTU: c.Options.MTU, MasterIndex: bridge.Attrs().Index,
		})
		link.PeerName, link.PeerNamespace = uplink, netlink.NsFd(peer.Fd())
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("make its link: %w", err)
		}
		if c.Options.HostOVS {
			// What the userspace datapath receives has to be whole.
			if err := setOffloadOff(n.Name); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(link)
	})
	if err != nil {
		return err
	}
	return node.Do(func() error {
		if err := forward(); err != nil {
			return err
		}
		link, err := netlink.LinkByName(uplink)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMTU(link, c.Options.MTU); err != nil {
			return err
		}
		if err := up(link, n.Addrs); err != nil {
			return err
		}
		for _, router := range subnet.Router {
			if err := addRoute(netip.PrefixFrom(unspecified(router.Addr()), 0), router.Addr()); err != nil {
				return err
			}
		}
		return nil
	})
}

// setOffloadOff has the kernel compute checksums, and cut segments, before it sends
// packets by a link.
func setOffloadOff(link string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	if err := e.Change(link, map[string]bool{"tx-checksum-ip-generic": false}); err != nil {
		return fmt.Errorf("set the checksum offload of %s off: %w", link, err)
	}
	return nil
}

// up sets a link up and gives it addresses.
func up(link netlink.Link, prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			// Nobody else has it: without looking for a duplicate it is there at once.
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, p, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
	}
	return nil
}

// addRoute adds a route of the calling thread's namespace, or changes it.
func addRoute(to netip.Prefix, via netip.Addr) error {
	route := &netlink.Route{Dst: ipNet(to), Gw: via.AsSlice()}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("add a route to %s via %s: %w", to, via, err)
	}
	return nil
}

// forward makes the calling thread's namespace forward packets.
func forward() error {
	for _, name := range forwarding {
		path := filepath.Join("/proc/sys/net", name)
		if err := os.WriteFile(path, []byte("1"), 0); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
