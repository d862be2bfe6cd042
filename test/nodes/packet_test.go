package nodes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/test/bed"
)

// Sizes of headers in bytes.
const (
	udpHeader  = 8
	ipv4Header = 20
	ipv6Header = 40
)

// listener keeps what datagrams that come to a port of a host say.
type listener struct {
	mu    sync.Mutex
	heard []string
}

// listen listens on a UDP port of all addresses of a host, and returns it.
func listen(t *testing.T, h *bed.Host) (l *listener, port uint16) {
	t.Helper()
	c := socket(t, h, nil)
	l = &listener{}
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := c.Read(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.mu.Lock()
			l.heard = append(l.heard, string(buffer[:n]))
			l.mu.Unlock()
		}
	}()
	return l, c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// said returns what was heard so far, and forgets it.
func (l *listener) said() (all string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, l.heard = strings.Join(l.heard, ", "), nil
	return all
}

// socket opens a UDP socket of a host, which closes with the test.
func socket(t *testing.T, h *bed.Host, at *net.UDPAddr) (c *net.UDPConn) {
	t.Helper()
	err := h.Do(func() (err error) {
		c, err = net.ListenUDP("udp", at)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// forgery is a packet of a tunnel that no node has sent.
type forgery struct {
	what  string
	outer netip.Addr // where it comes from
	inner netip.Addr // who is said to have sent what is in it
	// genuine are those that would be right if their node had sent them.
	genuine bool
}

// forge sends packets of a tunnel of the given type from one node to the other,
// each with a datagram for a port of a pod there. Only what is genuine arrives: it
// is sent after the others, so that they have had their time.
func forge(t *testing.T, tunnel string, from, to *node, pod *bed.Pod, forgeries ...forgery) {
	t.Helper()
	l, at := listen(t, &pod.Host)
	want := ""
	for _, f := range forgeries {
		c := socket(t, from.Node, net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.outer, 0)))
		end := net.UDPAddrFromAddrPort(netip.AddrPortFrom(of(f.outer, to.addrs), choose[uint16](tunnel == "vxlan", 4789, 6081)))
		target := of(f.inner, pod.Addrs)
		send := func() {
			if _, err := c.WriteToUDP(encapsulated(t, tunnel, f.inner, target, at, f.what), end); err != nil {
				t.Fatal(err)
			}
		}
		if !f.genuine {
			send()
			continue
		}
		want = f.what
		eventually(t, "what is genuine arrives", func(context.Context) error {
			send()
			time.Sleep(20 * time.Millisecond) // it may be on its way
			for _, text := range strings.Split(l.said(), ", ") {
				switch text {
				case want:
					return nil
				case "":
				default:
					t.Errorf("%s: it arrived", text)
				}
			}
			return fmt.Errorf("%s is not there", want)
		})
	}
	if want == "" {
		t.Fatal("nothing is genuine: this test sees nothing")
	}
}

// of returns the address of the same family.
func of(a netip.Addr, all []netip.Addr) netip.Addr {
	for _, b := range all {
		if a.Is4() == b.Is4() {
			return b
		}
	}
	return netip.Addr{}
}

// encapsulated returns what a tunnel's UDP datagram carries: the tunnel's header
// (RFC 8926 section 3.4, RFC 7348 section 5) and a frame.
func encapsulated(t *testing.T, tunnel string, from, to netip.Addr, port uint16, text string) []byte {
	t.Helper()
	header := []byte{0, 0, 0x65, 0x58, 0, 0, 0, 0}
	if tunnel == "vxlan" {
		header = []byte{0x08, 0, 0, 0, 0, 0, 0, 0}
	}
	eth := layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: flows.RemoteMAC, EthernetType: layers.EthernetTypeIPv4}
	udp := layers.UDP{SrcPort: 4444, DstPort: layers.UDPPort(port)}
	var ip interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	}
	if from.Is4() {
		ip = &layers.IPv4{Version: 4, TTL: 60, Protocol: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	} else {
		eth.EthernetType = layers.EthernetTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 60, NextHeader: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &eth, ip, &udp, gopacket.Payload(text))
	if err != nil {
		t.Fatal(err)
	}
	return append(header, buffer.Bytes()...)
}

// whole is a UDP socket whose datagrams must not be fragmented.
func whole(t *testing.T, from *bed.Host, to netip.Addr) net.Conn {
	t.Helper()
	c, err := from.Dial(within(t), "udp", netip.AddrPortFrom(to, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	level, option, value := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO
	if to.Is6() {
		level, option, value = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil || failed != nil {
		t.Fatal(errors.Join(err, failed))
	}
	return c
}

// echo sends a packet of that many bytes, IP header and all, and waits for its
// answer of the same size. An error that the network has told of is returned.
func echo(c net.Conn, size int, wait time.Duration) error {
	headers := udpHeader + choose(c.RemoteAddr().(*net.UDPAddr).IP.To4() != nil, ipv4Header, ipv6Header)
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, size-headers)); err != nil {
		return err
	}
	answer := make([]byte, size)
	n, err := c.Read(answer)
	if err == nil && n != size-headers {
		err = fmt.Errorf("an answer of %d bytes to %d", n, size-headers)
	}
	return err
}

// fits finds out whether packets of just that size pass unfragmented, and larger
// ones are refused with an error that says so. What a pod has once heard of the way
// to another counts for minutes: more must not fit later than before.
func fits(t *testing.T, from, to *bed.Pod, size int) {
	t.Helper()
	for _, a := range to.Addrs {
		c := whole(t, &from.Host, a)
		eventually(t, fmt.Sprintf("%d bytes pass from %s to %s", size, from.Name, a), func(context.Context) error { return echo(c, size, again) })
		eventually(t, fmt.Sprintf("%d bytes from %s to %s are refused", size+1, from.Name, a), func(context.Context) error {
			if err := echo(c, size+1, silence); !errors.Is(err, unix.EMSGSIZE) {
				return fmt.Errorf("%v, want %w", err, unix.EMSGSIZE)
			}
			return nil
		})
	}
}
