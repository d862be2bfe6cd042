package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/sluice-cni/sluice/test/bed"
)

// ping sends an echo request and returns nil if a reply comes in time, else an
// error that wraps bed.ErrNoAnswer.
func ping(from *bed.Host, to netip.Addr, wait time.Duration) error {
	network, protocol := "ip4:icmp", 1
	var request, reply icmp.Type = ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply
	if to.Is6() {
		network, protocol = "ip6:ipv6-icmp", 58
		request, reply = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	echo := &icmp.Echo{ID: int(rand.Uint32N(1 << 16)), Seq: 1, Data: []byte("sluice probe")}
	// The kernel writes the checksum of ICMPv6.
	text, err := (&icmp.Message{Type: request, Body: echo}).Marshal(nil)
	if err != nil {
		return err
	}
	var c *net.IPConn
	err = from.Do(func() (err error) {
		c, err = net.DialIP(network, ipAddr(sourceOf(from, to)), ipAddr(to))
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	end := time.Now().Add(wait)
	buffer := make([]byte, 1500)
	again := end.Add(-wait)
	for {
		now := time.Now()
		if now.After(end) {
			return fmt.Errorf("ping %s: %w in %v", to, bed.ErrNoAnswer, wait)
		}
		if !now.Before(again) {
			// Like ping(8), once a second: on a machine that is busy, resolving the
			// neighbour may fail, and the packet with it.
			again = now.Add(time.Second)
			if _, err := c.Write(text); err != nil {
				return fmt.Errorf("ping %s: %w", to, err)
			}
		}
		if err := c.SetReadDeadline(earlier(again, end)); err != nil {
			return err
		}
		size, _, err := c.ReadFrom(buffer) // not Read, which would leave the IPv4 header in
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return fmt.Errorf("ping %s: %w", to, err)
		}
		m, err := icmp.ParseMessage(protocol, buffer[:size])
		if err != nil || m.Type != reply {
			continue // the socket sees every ICMP packet of the host
		}
		if got, ok := m.Body.(*icmp.Echo); ok && got.ID == echo.ID && bytes.Equal(got.Data, echo.Data) {
			return nil
		}
	}
}

func ipAddr(a netip.Addr) *net.IPAddr {
	if !a.IsValid() {
		return nil
	}
	return &net.IPAddr{IP: a.AsSlice()}
}

// sourceOf returns the address from which a host sends to another, or the zero
// address if that is for its network stack to say.
func sourceOf(h *bed.Host, to netip.Addr) netip.Addr {
	if len(h.Addrs) == 0 || keyOf(h).Name == "" && len(h.Addrs) > 1 {
		return netip.Addr{} // the node
	}
	if to.Is4() {
		return h.Addr(4)
	}
	return h.Addr(6)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
