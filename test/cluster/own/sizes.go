package own

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/test/bed"
)

// The sizes of headers in bytes.
const (
	udpHeader  = 8
	ipv4Header = 20
	ipv6Header = 40
)

// packetSizes sends what the MTU of pods says fits from a pod to one of another
// node and back, unfragmented.
func packetSizes(ctx context.Context, e *env) (string, error) {
	from, to := e.pod("a", 0), e.pod("a", e.last())
	mtu, err := mtuOf(from.Host)
	if err != nil {
		return "", err
	}
	// The headers that a tunnel adds: over IPv6 where nodes have nothing else.
	want := e.cluster.Options.MTU
	if mode := e.cluster.Options.Agent["mode"]; sluice(e.cluster) == "" && !strings.EqualFold(mode, "noEncap") {
		want -= 50
		if familyOf(e.nodes[0].Addrs[0]) == 6 {
			want -= ipv6Header - ipv4Header
		}
	}
	var errs []error
	if mtu != want {
		errs = append(errs, fmt.Errorf("the MTU of pods is %d, want %d", mtu, want))
	}
	for _, family := range e.families() {
		size := mtu - udpHeader - ipv4Header
		if family == 6 {
			size = mtu - udpHeader - ipv6Header
		}
		at := netip.AddrPortFrom(to.Addr(family), port)
		if err := echo(ctx, from.Host, at, size); err != nil {
			errs = append(errs, fmt.Errorf("%d bytes of UDP to %s: %w", size, at, err))
		}
		if err := echo(ctx, from.Host, at, size+1); !errors.Is(err, unix.EMSGSIZE) {
			errs = append(errs, fmt.Errorf("%d bytes of UDP to %s: %v, want %v", size+1, at, err, unix.EMSGSIZE))
		}
	}
	return fmt.Sprintf("the MTU is %d", mtu), errors.Join(errs...)
}

func mtuOf(h *bed.Host) (mtu int, err error) {
	err = h.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err == nil {
			mtu = link.Attrs().MTU
		}
		return err
	})
	return mtu, err
}

// echo sends a datagram that must not be fragmented and waits for its answer.
// Datagrams are lost now and then, as the first one to a neighbour: it tries again.
func echo(ctx context.Context, from *bed.Host, at netip.AddrPort, size int) error {
	c, err := from.Dial(ctx, "udp", at)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := dontFragment(c.(*net.UDPConn), at.Addr()); err != nil {
		return err
	}
	for range 3 {
		if err = exchange(c, size); err == nil || errors.Is(err, unix.EMSGSIZE) {
			return err
		}
	}
	return err
}

func exchange(c net.Conn, size int) error {
	if err := c.SetDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, size)); err != nil {
		return err
	}
	answer := make([]byte, size+1)
	n, err := c.Read(answer)
	if err == nil && n != size {
		err = fmt.Errorf("an answer of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	return err
}

// dontFragment has the kernel refuse what is larger than the MTU (ip(7),
// IP_MTU_DISCOVER).
func dontFragment(c *net.UDPConn, to netip.Addr) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	level, option, value := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO
	if to.Is6() {
		level, option, value = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO
	}
	var setErr error
	err = raw.Control(func(fd uintptr) { setErr = unix.SetsockoptInt(int(fd), level, option, value) })
	return errors.Join(err, setErr)
}
