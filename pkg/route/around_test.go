package route

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/test/netns"
)

// around is what lies behind the node's interfaces, each in a network namespace of
// its own: in place of the bridge a host that takes what bears the bridge's
// address, and forwards back what it does not serve; and the outside.
type around struct {
	bridge, outside *netns.Netns
}

var bridgeMAC = net.HardwareAddr{0x0a, 0x58, 0xff, 0xff, 0xff, 0xfe}

var (
	clusterIP = map[Family]string{IPv4: "10.96.0.10", IPv6: "fd00:96::10"}
	// Nobody serves those. The node is told of the first.
	refusedIP   = map[Family]string{IPv4: "10.96.0.98", IPv6: "fd00:96::98"}
	emptyIP     = map[Family]string{IPv4: "10.96.0.99", IPv6: "fd00:96::99"}
	externalIP  = map[Family]string{IPv4: "203.0.113.50", IPv6: "2001:db8:113::50"}
	goneIP      = map[Family]string{IPv4: "203.0.113.51", IPv6: "2001:db8:113::51"}
	nodeIP      = map[Family]string{IPv4: "192.0.2.1", IPv6: "2001:db8::1"}
	otherNodeIP = map[Family]string{IPv4: "192.0.2.2", IPv6: "2001:db8::2"}
	gatewayIP   = map[Family]string{IPv4: "10.244.0.1", IPv6: "fd00:244::1"}
	podIP       = map[Family]string{IPv4: "10.244.0.5", IPv6: "fd00:244::5"}
	outsideIP   = map[Family]string{IPv4: "192.0.2.77", IPv6: "2001:db8::77"}
)

// enterNode is enter with the surroundings, where the node forwards and is strict
// about where packets come from.
func enterNode(t *testing.T) *around {
	t.Helper()
	enter(t)
	a := &around{}
	for _, s := range []struct {
		ns   **netns.Netns
		link string
	}{{&a.bridge, "xluice0"}, {&a.outside, "xplink"}} {
		ns, err := netns.Create(filepath.Join(netns.Dir, fmt.Sprintf("route-%d-%d", os.Getpid(), spaces.Add(1))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ns.Delete(); err != nil {
				t.Error(err)
			}
		})
		*s.ns = ns
		ip(t, "link", "set", s.link, "netns", ns.Path())
	}
	do(t, nil, func() error {
		return setSysctls(map[string]string{
			"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
			"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/sluice0/rp_filter": "1",
			// Else one client is told of six errors, and then of one a second.
			"net/ipv4/icmp_ratelimit": "0", "net/ipv6/icmp/ratelimit": "0",
		})
	})
	gateway, err := netlink.LinkByName("sluice0")
	if err != nil {
		t.Fatal(err)
	}
	do(t, a.bridge, func() error {
		ip(t, "link", "set", "xluice0", "address", bridgeMAC.String(), "arp", "off", "up")
		for f := range Family(NumFamilies) {
			for _, local := range []string{ServiceHops[f].String(), clusterIP[f], externalIP[f], podIP[f]} {
				ip(t, "addr", "add", local, "dev", "xluice0", "nodad")
			}
			ip(t, "neigh", "replace", gatewayIP[f], "lladdr", gateway.Attrs().HardwareAddr.String(), "dev", "xluice0", "nud", "permanent")
			ip(t, "route", "add", "default", "via", gatewayIP[f], "dev", "xluice0", "onlink")
		}
		// What it gives back leaves by the interface it came in by.
		return setSysctls(map[string]string{
			"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
			"net/ipv4/conf/all/send_redirects": "0", "net/ipv4/conf/xluice0/send_redirects": "0",
			"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/xluice0/rp_filter": "0",
		})
	})
	do(t, a.outside, func() error {
		ip(t, "link", "set", "xplink", "up")
		for f := range Family(NumFamilies) {
			ip(t, "addr", "add", outsideIP[f]+[]string{"/24", "/64"}[f], "dev", "xplink", "nodad")
			ip(t, "route", "add", "default", "via", nodeIP[f])
		}
		return nil
	})
	// The node reaches the pod as its gateway's address says.
	for f := range Family(NumFamilies) {
		ip(t, "neigh", "replace", podIP[f], "lladdr", bridgeMAC.String(), "dev", "sluice0", "nud", "permanent")
	}
	return a
}

// do calls f in a namespace, the node's if it is nil.
func do(t *testing.T, ns *netns.Netns, f func() error) {
	t.Helper()
	var err error
	if ns == nil {
		err = f()
	} else {
		err = ns.Do(f)
	}
	if err != nil {
		t.Error(err)
	}
}

// dial connects from an address of a namespace, any if it is empty, and for UDP
// sends a byte and waits for one.
func dial(ns *netns.Netns, network, from, to string) error {
	d := net.Dialer{Timeout: patience}
	switch {
	case from == "":
	case network == "tcp":
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr(from), 0))
	default:
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr(from), 0))
	}
	connect := func() error {
		c, err := d.Dial(network, to)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := c.Write([]byte{0}); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		return err
	}
	if ns == nil {
		return connect()
	}
	return ns.Do(connect)
}

// serve answers at an address of a namespace with a byte, and tells from where it
// was asked, until the test ends.
func serve(t *testing.T, ns *netns.Netns, network, at string) <-chan netip.Addr {
	t.Helper()
	asked := make(chan netip.Addr, 10)
	do(t, ns, func() error {
		if network == "udp" {
			c, err := net.ListenPacket(network, at)
			if err != nil {
				return err
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				buffer := make([]byte, 1)
				for {
					_, from, err := c.ReadFrom(buffer)
					if err != nil {
						return
					}
					asked <- from.(*net.UDPAddr).AddrPort().Addr().Unmap()
					_, _ = c.WriteTo(buffer, from)
				}
			}()
			return nil
		}
		l, err := net.Listen(network, at)
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				asked <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
				_, _ = c.Write([]byte{0})
				c.Close()
			}
		}()
		return nil
	})
	return asked
}
