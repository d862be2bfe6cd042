package bed

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The addresses of the outside's end of the link to the node.
var (
	routerAddrs  = []netip.Addr{netip.MustParseAddr("172.18.0.1"), netip.MustParseAddr("fd00:172:18::1")}
	uplinkRanges = []int{24, 64} // the lengths of the link's prefixes
)

// NodeAddrs returns the addresses of a node towards the outside, those that its
// Node object lists, by its number from 2 on.
func NodeAddrs(number uint8) []netip.Addr {
	return []netip.Addr{
		netip.AddrFrom4([4]byte{172, 18, 0, number}),
		netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x01, 3: 0x72, 5: 0x18, 15: number}),
	}
}

// uplink is the node's interface towards the outside.
const uplink = "uplink"

// Outside returns the host outside of the cluster that has an address of
// Options.Outside. All of these share one namespace.
func (b *Bed) Outside(addr netip.Addr) *Host {
	h := b.outsiders[addr]
	if h == nil {
		panic(fmt.Sprintf("the bed has no host %s outside", addr))
	}
	return h
}

// connectOutside makes the outside, one namespace that has all the addresses, and
// routes between it, the node and the pods.
func (b *Bed) connectOutside() (err error) {
	if b.outside, err = newNetns(b.prefix + "outside"); err != nil {
		return err
	}
	for _, a := range b.opts.Outside {
		b.outsiders[a] = &Host{Netns: b.outside, Name: a.String(), Addrs: []netip.Addr{a}, bind: true}
	}
	f, err := os.Open(b.outside.Path())
	if err != nil {
		return err
	}
	defer f.Close()
	err = b.Node.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = uplink
		veth := netlink.NewVeth(attrs)
		veth.PeerName, veth.PeerNamespace = ifName, netlink.NsFd(f.Fd())
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("make link %s: %w", uplink, err)
		}
		return configure(uplink, func(add adder) error {
			for i, a := range b.Node.Addrs {
				if err := add.addr(a, uplinkRanges[i]); err != nil {
					return err
				}
			}
			for _, a := range b.opts.Outside {
				if err := add.route(netip.PrefixFrom(a, a.BitLen()), of(a, routerAddrs)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("connect the node with the outside: %w", err)
	}
	err = b.outside.Do(func() error {
		return configure(ifName, func(add adder) error {
			for i, a := range routerAddrs {
				if err := add.addr(a, uplinkRanges[i]); err != nil {
					return err
				}
			}
			for _, a := range b.opts.Outside {
				if err := add.addr(a, a.BitLen()); err != nil {
					return err
				}
			}
			for _, a := range b.Node.Addrs {
				if err := add.route(defaultRoute(a), a); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("connect the outside with the node: %w", err)
	}
	return nil
}

// of returns the address of the same family as a.
func of(a netip.Addr, all []netip.Addr) netip.Addr {
	for _, b := range all {
		if a.Is4() == b.Is4() {
			return b
		}
	}
	return netip.Addr{}
}

func defaultRoute(a netip.Addr) netip.Prefix {
	p, _ := a.Prefix(0)
	return p
}

// adder adds to a link.
type adder struct{ link netlink.Link }

// configure sets a link of the calling thread's namespace up.
func configure(name string, f func(adder) error) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link %s up: %w", name, err)
	}
	return f(adder{link})
}

func (a adder) addr(addr netip.Addr, bits int) error {
	err := netlink.AddrAdd(a.link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, bits)), Flags: noDAD(addr)})
	if err != nil {
		return fmt.Errorf("add address %s: %w", addr, err)
	}
	return nil
}

func (a adder) route(to netip.Prefix, via netip.Addr) error {
	err := netlink.RouteAdd(&netlink.Route{LinkIndex: a.link.Attrs().Index, Dst: ipNet(to), Gw: via.AsSlice()})
	if err != nil {
		return fmt.Errorf("add route to %s via %s: %w", to, via, err)
	}
	return nil
}

// noDAD has an IPv6 address used at once: there is nobody to have it too.
func noDAD(a netip.Addr) int {
	if a.Is6() {
		return unix.IFA_F_NODAD
	}
	return 0
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// forwardPackets makes a router of the calling thread's namespace.
func forwardPackets() error {
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := os.WriteFile("/proc/sys/"+key, []byte("1"), 0); err != nil {
			return fmt.Errorf("turn forwarding on: %w", err)
		}
	}
	return nil
}
