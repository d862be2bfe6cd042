package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/test/bed"
)

// dialFromPort connects from a port of a host, which it may use for more than one
// connection.
func dialFromPort(ctx context.Context, h *bed.Host, network string, port int, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		if err == nil {
			err = failed
		}
		return err
	}}
	if network == "tcp" {
		d.LocalAddr = &net.TCPAddr{Port: port}
	} else {
		d.LocalAddr = &net.UDPAddr{Port: port}
	}
	var c net.Conn
	err := h.Do(func() (err error) {
		c, err = d.DialContext(ctx, network, to.String())
		return err
	})
	return c, err
}

// A client may use one port for connections to several addresses. If Services lead
// them to one endpoint, that can't tell them apart by what the client chose.
func TestConnectionsFromOnePortToOneEndpointDoNotMeet(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "meet"
	n.namespace(t, ns, nil)
	server, client := n.pod(t, ns, "server", nil), n.pod(t, ns, "client", nil)
	var services [2][]netip.AddrPort
	for i := range services {
		name := fmt.Sprintf("s%d", i)
		services[i] = frontends(n.service(t, ns, name, nil), 80)
		n.serves(t, ns, name, &server.Host)
	}
	port := 41000
	for _, network := range []string{"tcp", "udp"} {
		if _, err := server.Serve(network, telling); err != nil {
			t.Fatal(err)
		}
		for i := range services[0] {
			one, other := services[0][i], services[1][i]
			family := 6
			if one.Addr().Is4() {
				family = 4
			}
			past := netip.AddrPortFrom(server.Addr(family), telling)
			for _, to := range []netip.AddrPort{one, other} {
				eventually(t, to.String()+" is served", func(ctx context.Context) error {
					return client.Probe(ctx, network, to, silence())
				})
			}
			for name, ways := range map[string][]netip.AddrPort{
				"past a Service after through it":     {one, past},
				"through a Service after past it":     {past, one},
				"through two Services":                {one, other},
				"through two Services, and past them": {one, other, past},
			} {
				port++
				t.Run(fmt.Sprintf("%s/%d/%s", network, family, name), func(t *testing.T) {
					if *datapathFlag != sandbox.System && ways[0] != past && ways[len(ways)-1] == past {
						t.Skip("ovs-vswitchd's tracker confuses the two (docs/datapaths.md)")
					}
					var conns []net.Conn
					for _, to := range ways {
						c, err := dialFromPort(within(t), &client.Host, network, port, to)
						if err != nil {
							t.Fatalf("to %s: %v", to, err)
						}
						defer c.Close()
						conns = append(conns, c)
						// Those before live on.
						for _, c := range conns {
							if err := bed.Exchange(c, silence()); err != nil {
								t.Fatalf("%s, after one to %s: %v", c.RemoteAddr(), to, err)
							}
						}
					}
				})
			}
		}
	}
}
