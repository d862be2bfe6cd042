// Package podlink makes and checks what joins a pod to the node: a veth pair
// with one end in the pod's network namespace, and the addresses and routes of
// that end.
//
// A pod has addresses without a subnet (/32 and /128). All it knows is its
// gateway, on the link, and the default route through it.
//
// Everything runs as root. The host's end lives in the network namespace of the
// calling process.
package podlink

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrPodInterfaceExists says that the pod's namespace has an interface of the
// wanted name already, which is none of ours.
var ErrPodInterfaceExists = errors.New("the interface exists already")

// Link describes the veth pair of a pod and how its ends are set up.
type Link struct {
	// Host is the name of the host's end, Pod that of the pod's.
	Host, Pod string
	// MAC is the Ethernet address of the pod's end.
	MAC net.HardwareAddr
	// MTU of both ends in bytes.
	MTU int
	// Addrs are the pod's addresses, at most one of each family.
	Addrs []netip.Addr
	// Gateways has the next hop for each family that Addrs has.
	Gateways []netip.Addr
	// ChecksumInSoftware makes the pod compute transport checksums itself. The
	// userspace datapath needs it: it reads packets from the host's end, where
	// no device is left that would fill in a checksum put off until then.
	ChecksumInSoftware bool
}

// HostMAC is the Ethernet address of the host's end. Nobody ever sends to it; it
// is set because udev changes addresses that the kernel chose (systemd.link(5),
// MACAddressPolicy).
func (l *Link) HostMAC() net.HardwareAddr {
	sum := sha256.Sum256([]byte(l.Host))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^0x01 | 0x02 // unicast, locally administered
	return mac
}

// Create makes the pair, with the pod's end directly in its namespace under its
// final name, and brings the host's end up. A left-over of the same host name is
// replaced: the name belongs to one attachment. If the pod's name is taken the
// error wraps ErrPodInterfaceExists.
func (l *Link) Create(netns ns.NetNS) error {
	err := l.add(netns)
	if errors.Is(err, unix.EEXIST) {
		if err := Delete(l.Host); err != nil {
			return err
		}
		err = l.add(netns)
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("creating interface %s in network namespace %s: %w", l.Pod, netns.Path(), ErrPodInterfaceExists)
	}
	if err != nil {
		return fmt.Errorf("creating interface %s with its peer %s in network namespace %s: %w", l.Host, l.Pod, netns.Path(), err)
	}
	if err := l.raiseHost(); err != nil {
		return errors.Join(err, Delete(l.Host))
	}
	return nil
}

func (l *Link) add(netns ns.NetNS) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = l.Host
	attrs.MTU = l.MTU
	attrs.HardwareAddr = l.HostMAC()
	veth := netlink.NewVeth(attrs)
	veth.PeerName = l.Pod
	veth.PeerHardwareAddr = l.MAC
	veth.PeerMTU = uint32(l.MTU)
	veth.PeerNamespace = netlink.NsFd(netns.Fd())
	return netlink.LinkAdd(veth)
}

// raiseHost brings the host's end up, deaf: it is a port of the bridge, and the
// host's own network stack must not speak to the pod on it. Where the datapath is
// in ovs-vswitchd that stack gets a copy of every packet. Were it to answer ARP
// the pod would send to its address, and it would forward past all policies.
func (l *Link) raiseHost() error {
	for _, s := range []struct{ family, key, value string }{
		{"ipv6", "disable_ipv6", "1"},
		// IPv4 can't be turned off. ip-sysctl: no address is answered for; a source
		// that is not routed to this interface, and none is, is dropped; and what is
		// not, is not forwarded.
		{"ipv4", "arp_ignore", "8"},
		{"ipv4", "rp_filter", "1"},
		{"ipv4", "forwarding", "0"},
	} {
		if err := setSysctl(s.family, l.Host, s.key, s.value); err != nil {
			return err
		}
	}
	link, err := netlink.LinkByName(l.Host)
	if err != nil {
		return fmt.Errorf("finding interface %s: %w", l.Host, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing interface %s up: %w", l.Host, err)
	}
	return nil
}

// Delete deletes a pair by the name of the host's end. A pair that is gone is no
// error.
func Delete(host string) error {
	link, err := netlink.LinkByName(host)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("deleting interface %s: %w", host, err)
	}
	return nil
}

// Exists reports whether the host's end of a pair is there.
func Exists(host string) (bool, error) {
	if _, err := netlink.LinkByName(host); err != nil {
		if gone(err) {
			return false, nil
		}
		return false, fmt.Errorf("finding interface %s: %w", host, err)
	}
	return true, nil
}

func gone(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV)
}

// Gateway returns the next hop for an address.
func (l *Link) Gateway(addr netip.Addr) (netip.Addr, error) {
	for _, gw := range l.Gateways {
		if gw.Is4() == addr.Is4() {
			return gw, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no gateway of the family of address %s", addr)
}

// host returns the prefix of one address alone.
func host(addr netip.Addr) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}
}
