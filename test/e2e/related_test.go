package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/test/bed"
)

const isolatesForIngress = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: %[1]s, name: deaf}
spec: {podSelector: {matchLabels: {app: deaf}}, policyTypes: [Ingress]}
`

// ICMP errors about a pod's own connections reach it, whoever sends them and
// whatever isolates it; ICMP otherwise does not.
func TestErrorsAboutAPodsConnectionsReachIt(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "related", nil)
	pod := n.pod(t, "related", "pod", map[string]string{"app": "deaf"})
	n.apply(t, fmt.Sprintf(isolatesForIngress, "related"))
	n.check(t, between([]*bed.Host{n.Outside(other4), n.Outside(other6)}, hosts(pod))...)
	const closed = 9 // where nobody listens
	for _, addr := range []netip.Addr{other4, other6} {
		c, err := pod.Dial(within(t), "udp", netip.AddrPortFrom(addr, closed))
		if err != nil {
			t.Fatal(err)
		}
		err = bed.Exchange(c, soon())
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("datagram to a closed port of %s: %v, want that it is refused", addr, err)
		}
		c.Close()
	}
}

// The path to some hosts outside is narrower than the pod's link. The router's
// word about it has to reach the pod.
func TestPathMTUIsDiscovered(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "narrow", nil)
	const mtu = 1300
	narrow := []netip.Addr{narrow4, narrow6}
	for _, addr := range narrow {
		if err := n.Node.Do(func() error { return narrowRoute(addr, mtu) }); err != nil {
			t.Fatalf("make the route to %s narrow: %v", addr, err)
		}
	}
	out := n.outsiders(t, narrow...)
	pod := n.pod(t, "narrow", "pod", map[string]string{"app": "deaf"})
	n.apply(t, fmt.Sprintf(isolatesForIngress, "narrow"))
	n.check(t, between(hosts(pod), out)...)
	for _, h := range out {
		c, err := pod.Dial(within(t), "udp", netip.AddrPortFrom(h.Addrs[0], 80))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := dontFragment(c.(*net.UDPConn), h.Addrs[0]); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the pod learns of the MTU on the way to "+h.Name, func(context.Context) error {
			_, err := c.Write(make([]byte, 1400))
			if errors.Is(err, unix.EMSGSIZE) {
				return nil
			}
			return fmt.Errorf("a datagram that is too long: %v", err)
		})
		eventually(t, "a datagram that fits arrives", func(context.Context) error {
			// The error of before may still be waiting.
			return exchange(c, 1200, soon())
		})
	}
}

// narrowRoute sets the MTU of the calling thread's namespace's route to an address.
func narrowRoute(to netip.Addr, mtu int) error {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{
		LinkIndex: routes[0].LinkIndex, Gw: routes[0].Gw, MTU: mtu,
		Dst: &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(to.BitLen(), to.BitLen())},
	})
}

// dontFragment has datagrams of a socket refused if they are longer than the path
// allows.
func dontFragment(c *net.UDPConn, to netip.Addr) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if to.Is4() {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		} else {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		}
	})
	return errors.Join(err, failed)
}

// exchange sends a datagram of some size to a server and reads it back.
func exchange(c net.Conn, size int, wait time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, size)); err != nil {
		return err
	}
	got, err := c.Read(make([]byte, 2*size))
	if err == nil && got != size {
		err = fmt.Errorf("%d bytes of %d came back", got, size)
	}
	return err
}

// Datagrams longer than the MTU travel in fragments. Only the first one has ports,
// and yet all meet the rules about ports.
//
// The tracker in ovs-vswitchd reassembles for itself only: when rules are looked at
// packets are in fragments again, and all but the first have no ports. There a
// rule about ports lets no connection begin with fragments; within one they pass.
func TestFragmentsMeetRulesAboutPorts(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "fragments", nil)
	server := n.pod(t, "fragments", "server", map[string]string{"app": "server"})
	client := n.pod(t, "fragments", "client", map[string]string{"app": "client"})
	n.apply(t, fmt.Sprintf(serverAllows, "fragments", "[client]"))
	n.check(t, between(hosts(client), hosts(server))...)
	for _, from := range []*bed.Host{&client.Host, n.Node} {
		for _, family := range []int{4, 6} {
			for _, port := range servedPorts {
				p := probe{from, &server.Host, family, corev1.ProtocolUDP, port}
				c, err := from.Dial(within(t), "udp", p.target())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				allowed := port == 80 || from == n.Node
				if allowed && *datapathFlag == sandbox.Netdev {
					if err := exchange(c, 10, soon()); err != nil {
						t.Errorf("%v: %v", p, err)
					}
				}
				err = exchange(c, 5000, choose(allowed, soon(), silence()))
				if allowed && err != nil || !allowed && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v, in fragments: %v, want allowed: %v", p, err, allowed)
				}
			}
		}
	}
}
