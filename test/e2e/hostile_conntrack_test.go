package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/test/bed"
)

// stream has a host send on every connection that is made to a TCP port, without
// being asked.
func stream(t testing.TB, h *bed.Host, port uint16) {
	t.Helper()
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), port).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				for {
					if _, err := c.Write([]byte("news")); err != nil {
						return
					}
					time.Sleep(5 * time.Millisecond) // the pace of the news
				}
			}()
		}
	}()
}

// A connection that a policy no longer allows is cut for both of its ends: what
// the other end has still to send must not pass for a connection of its own.
func TestACutConnectionIsNotOpenedAgainByItsOtherEnd(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "reopen", nil)
	server := n.create(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "reopen", Name: "server", Labels: map[string]string{"app": "server"}}})
	if err := server.Add(within(t)); err != nil {
		t.Fatal(err)
	}
	n.run(t, server)
	stream(t, &server.Host, 80)
	client := n.pod(t, "reopen", "client", map[string]string{"app": "client"})
	n.apply(t, fmt.Sprintf(serverAllows, "reopen", "[client]"))
	var live []net.Conn
	for _, a := range server.Addrs {
		var c net.Conn
		eventually(t, "the client reaches the server", func(ctx context.Context) (err error) {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			c, err = client.Dial(ctx, "tcp", netip.AddrPortFrom(a, 80))
			return err
		})
		t.Cleanup(func() { c.Close() })
		live = append(live, c)
		if err := hears(c, soon()); err != nil {
			t.Fatal(err)
		}
	}
	n.apply(t, fmt.Sprintf(serverAllows, "reopen", "[nobody]"))
	for _, c := range live {
		eventually(t, "the connection is cut", func(context.Context) error {
			if err := hears(c, silence()); err == nil {
				return errors.New("the server is still heard")
			}
			return nil
		})
	}
}

// hears returns nil if something can be read within a time.
func hears(c net.Conn, wait time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1<<16))
	return err
}

// icmpError returns the layers of an ICMP error (RFC 792, RFC 4443: the port is
// unreachable) about a datagram that went from source to destination.
func icmpError(from, to end, source, destination netip.AddrPort, mark string) []gopacket.SerializableLayer {
	about := datagram(end{forged, source.Addr()}, end{forged, destination.Addr()}, mark)
	u := about[2].(*layers.UDP)
	u.SrcPort, u.DstPort = layers.UDPPort(source.Port()), layers.UDPPort(destination.Port())
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, about[1:]...); err != nil {
		panic(err)
	}
	quoted := gopacket.Payload(buffer.Bytes())
	if from.addr.Is4() {
		ls := packet4(from, to, layers.IPv4{Protocol: layers.IPProtocolICMPv4}, nil)
		return append(ls[:2], &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3)}, quoted)
	}
	ls := packet6(from, to, layers.IPProtocolICMPv6, nil)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(1, 4)}
	_ = icmp.SetNetworkLayerForChecksum(ls[1].(*layers.IPv6))
	return append(ls[:2], icmp, gopacket.Payload(append(make([]byte, 4), quoted...)))
}

// A pod may tell of errors in what it was sent, and not in others' connections.
func TestAPodCannotForgeErrorsAboutOthersConnections(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "errors", nil)
	attacker := n.pod(t, "errors", "attacker", map[string]string{"app": "deaf"})
	victim := n.pod(t, "errors", "victim", nil)
	other := n.pod(t, "errors", "other", nil)
	n.apply(t, `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: errors, name: mute}
spec: {podSelector: {matchLabels: {app: deaf}}, policyTypes: [Egress]}
`)
	all := hosts(attacker, victim, other)
	n.check(t, between(all, all)...)
	wire, seen := openLink(t, &attacker.Host, "eth0"), openLink(t, &victim.Host, "eth0")
	mac, gatewayMAC := macOf(t, &attacker.Host, "eth0"), macOf(t, n.Node, "sluice0")
	var honest, dishonest []string
	for _, family := range []int{4, 6} {
		// One connection of the victim with the attacker, and one with somebody else.
		for _, with := range []*bed.Pod{attacker, other} {
			c := dial(t, &victim.Host, "udp", probe{&victim.Host, &with.Host, family, corev1.ProtocolUDP, 80})
			text := fmt.Sprintf("error: IPv%d, about a connection with %s", family, with.Name)
			if with == attacker {
				honest = append(honest, text)
			} else {
				dishonest = append(dishonest, text)
			}
			err := wire.send(icmpError(end{mac, attacker.Addr(family)}, end{gatewayMAC, victim.Addr(family)},
				addrPort(c.LocalAddr()), addrPort(c.RemoteAddr()), text)...)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, text := range honest {
		eventually(t, text+" arrives", func(context.Context) error {
			if !seen.saw([]byte(text)) {
				return errors.New("it has not")
			}
			return nil
		})
	}
	time.Sleep(silence())
	for _, text := range dishonest {
		if seen.saw([]byte(text)) {
			t.Errorf("%s: the victim has got it", text)
		}
	}
}
