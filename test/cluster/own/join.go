package own

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/cluster/testbed"
)

// guest is a Node without a kubelet: nobody writes its status but the test, and
// no DaemonSet has a pod on it, which look for a label of the operating system.
const guest = "sluice-own-guest"

// guestNumber is the number of its range among those of the nodes' pods.
const guestNumber = 99

// nodeComesAndGoes has a node join at one address of the host outside and move to
// another one.
func nodeComesAndGoes(ctx context.Context, e *env) error {
	var second []netip.Prefix // the next ones, which no node has
	for _, p := range e.cluster.Plan.Subnets[0].Router {
		second = append(second, netip.PrefixFrom(p.Addr().Next(), p.Bits()))
	}
	if err := e.changeAddrs(netlink.AddrReplace, second); err != nil {
		return err
	}
	err := e.follow(ctx, e.outside.Addrs, addrsOf(second))
	return errors.Join(err, e.deleteGuest(context.WithoutCancel(ctx)), e.changeAddrs(netlink.AddrDel, second))
}

func addrsOf(prefixes []netip.Prefix) (addrs []netip.Addr) {
	for _, p := range prefixes {
		addrs = append(addrs, p.Addr())
	}
	return addrs
}

// changeAddrs adds addresses of the nodes' subnet to the host outside, or removes
// them.
func (e *env) changeAddrs(change func(netlink.Link, *netlink.Addr) error, prefixes []netip.Prefix) error {
	return e.outside.Do(func() error {
		link, err := netlink.LinkByName(e.cluster.Plan.Subnets[0].Name)
		if err != nil {
			return err
		}
		for _, p := range prefixes {
			addr, err := netlink.ParseAddr(p.String())
			if err != nil {
				return err
			}
			if p.Addr().Is6() {
				addr.Flags = unix.IFA_F_NODAD // nobody else has it
			}
			if err := change(link, addr); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *env) follow(ctx context.Context, first, second []netip.Addr) error {
	nodes := e.client.CoreV1().Nodes()
	ranges := e.guestRanges()
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: guest}, Spec: corev1.NodeSpec{PodCIDR: ranges[0].String()}}
	for _, r := range ranges {
		object.Spec.PodCIDRs = append(object.Spec.PodCIDRs, r.String())
	}
	if _, err := nodes.Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create node %s: %w", guest, err)
	}
	for _, addrs := range [][]netip.Addr{first, second} {
		err := until(ctx, func() error {
			object, err := nodes.Get(ctx, guest, metav1.GetOptions{})
			if err != nil {
				return err
			}
			object.Status.Addresses = nil
			for _, a := range addrs {
				object.Status.Addresses = append(object.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.String()})
			}
			_, err = nodes.UpdateStatus(ctx, object, metav1.UpdateOptions{})
			return err // it may have been changed meanwhile
		})
		if err != nil {
			return fmt.Errorf("set the address of node %s: %w", guest, err)
		}
		for _, r := range ranges {
			if err := until(ctx, func() error { return e.leadsTo(ctx, r, addrs) }); err != nil {
				return fmt.Errorf("pods in %s of the node at %s: %w", r, addrs, err)
			}
		}
	}
	if err := e.deleteGuest(ctx); err != nil {
		return err
	}
	for _, r := range ranges {
		if err := until(ctx, func() error { return e.leadsNowhere(ctx, r, second[0]) }); err != nil {
			return fmt.Errorf("pods in %s of the node that has gone: %w", r, err)
		}
	}
	return nil
}

func (e *env) deleteGuest(ctx context.Context) error {
	err := e.client.CoreV1().Nodes().Delete(ctx, guest, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// guestRanges are ranges of pods that no node has.
func (e *env) guestRanges() (ranges []netip.Prefix) {
	for i, p := range e.cluster.Plan.Pods {
		bits := e.cluster.Plan.PodBits[i]
		raw := p.Masked().Addr().AsSlice()
		raw[bits/8-1] = guestNumber
		addr, _ := netip.AddrFromSlice(raw)
		ranges = append(ranges, netip.PrefixFrom(addr, bits))
	}
	return ranges
}

// encapsulates reports whether packets to nodes of the same subnet are tunnelled.
func (e *env) encapsulates() bool {
	mode := e.cluster.Options.Agent["mode"]
	return mode == "" || strings.EqualFold(mode, "encap")
}

// leadsTo checks that what a pod sends to one of a range gets to an address of
// the host outside: to the first in the tunnel if there is one, else to that of
// its family by the kernel's route.
func (e *env) leadsTo(ctx context.Context, to netip.Prefix, at []netip.Addr) error {
	if e.encapsulates() {
		return e.tunnelled(ctx, to, at[0])
	}
	via, err := e.routeTo(to)
	if err == nil && !slices.Contains(at, via) {
		err = fmt.Errorf("the route leads to %s", via)
	}
	return err
}

func (e *env) leadsNowhere(ctx context.Context, to netip.Prefix, at netip.Addr) error {
	if e.encapsulates() {
		if err := e.tunnelled(ctx, to, at); !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("packets still come by the tunnel, or: %w", err)
		}
	}
	if via, err := e.routeTo(to); err == nil && via.IsValid() {
		return fmt.Errorf("there is still a route, to %s", via)
	}
	return nil
}

// routeTo returns the next hop of the first node's route to a range, the zero
// address if it is left to the underlay.
func (e *env) routeTo(to netip.Prefix) (via netip.Addr, err error) {
	err = e.nodes[0].Do(func() error {
		dst := &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Dst: dst}, netlink.RT_FILTER_DST)
		if err == nil && len(routes) != 1 {
			err = fmt.Errorf("%d routes", len(routes))
		}
		if err == nil {
			via, _ = netip.AddrFromSlice(routes[0].Gw)
			via = via.Unmap()
		}
		return err
	})
	return via, err
}

// tunnelled sends something from a pod and waits for it at the end of the tunnel.
func (e *env) tunnelled(ctx context.Context, to netip.Prefix, at netip.Addr) error {
	const geneve, vxlan = 6081, 4789 // RFC 8926, RFC 7348
	tunnel := uint16(geneve)
	if e.cluster.Options.Agent["tunnel"] == "vxlan" {
		tunnel = vxlan
	}
	var c *net.UDPConn
	err := e.cluster.Netns(testbed.Control).Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, tunnel)))
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	text := []byte("to a node that has come " + time.Now().String())
	if err := send(ctx, e.pod("a", 0).Host, netip.AddrPortFrom(to.Addr().Next().Next(), port), text); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	packet := make([]byte, 2000)
	for {
		n, from, err := c.ReadFromUDPAddrPort(packet)
		if err != nil {
			return err
		}
		if !bytes.Contains(packet[:n], text) {
			continue // of another try, or the kernel's own
		}
		if want := e.nodes[0].Addr(familyOf(at)); from.Addr().Unmap() != want {
			return fmt.Errorf("it comes from %s, want %s", from.Addr(), want)
		}
		return nil
	}
}

func send(ctx context.Context, from *bed.Host, to netip.AddrPort, text []byte) error {
	c, err := from.Dial(ctx, "udp", to)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(text)
	return err
}
