package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/test/bed"
)

// frontHost returns the cluster addresses of a Service as a host to send to.
func frontHost(s *corev1.Service) *bed.Host {
	h := &bed.Host{Name: "Service " + s.Name}
	for _, ip := range s.Spec.ClusterIPs {
		h.Addrs = append(h.Addrs, netip.MustParseAddr(ip))
	}
	return h
}

// again sends on a UDP socket, over and over, until a host answers there.
func again(t testing.TB, c net.Conn, want *bed.Host) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s answers at %s", want.Name, c.RemoteAddr()), func(context.Context) error {
		if err := c.SetDeadline(time.Now().Add(silence())); err != nil {
			return err
		}
		if _, err := c.Write([]byte("who?")); err != nil {
			return err
		}
		text := make([]byte, 200)
		size, err := c.Read(text)
		if err != nil {
			return err
		}
		if who, _, _ := strings.Cut(string(text[:size]), " "); who != want.Name {
			return fmt.Errorf("%s does", who)
		}
		return nil
	})
}

// A UDP client that never closes its socket is led on, from a refusal as from an
// endpoint that is gone, before anything of it has run out.
func TestUDPSocketIsLedOnWhenItsEndpointGoes(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "moves"
	n.namespace(t, ns, nil)
	one, two, client := n.pod(t, ns, "one", nil), n.pod(t, ns, "two", nil), n.pod(t, ns, "client", nil)
	tells(t, &one.Host)
	tells(t, &two.Host)
	s := n.service(t, ns, "web", nil)
	var sockets []net.Conn
	for _, to := range frontends(s, 80) {
		c, err := client.Dial(within(t), "udp", to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write([]byte("anybody?")); err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, c)
	}
	for _, serving := range []*bed.Pod{one, two} {
		n.serves(t, ns, "web", &serving.Host)
		for _, c := range sockets {
			again(t, c, &serving.Host)
		}
	}
}

func TestUDPSocketIsLedOnWhenItsFrontendGoesToAnotherService(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "handover"
	n.namespace(t, ns, nil)
	one, two, client := n.pod(t, ns, "one", nil), n.pod(t, ns, "two", nil), n.pod(t, ns, "client", nil)
	tells(t, &one.Host)
	tells(t, &two.Host)
	external := []string{"192.0.2.79", "2001:db8:2::79"}
	has := n.service(t, ns, "a", func(s *corev1.ServiceSpec) { s.ExternalIPs = external })
	gets := n.service(t, ns, "b", nil)
	n.serves(t, ns, "a", &one.Host)
	n.serves(t, ns, "b", &two.Host)
	var sockets []net.Conn
	for _, a := range external {
		c, err := client.Dial(within(t), "udp", netip.AddrPortFrom(netip.MustParseAddr(a), 80))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		again(t, c, &one.Host)
		sockets = append(sockets, c)
	}
	// More than once: connections are looked through for what was before, too.
	for _, next := range []*bed.Pod{two, one, two, one} {
		has.Spec.ExternalIPs, gets.Spec.ExternalIPs = nil, external
		for _, s := range []*corev1.Service{has, gets} {
			now, err := n.api.Client().CoreV1().Services(ns).Update(within(t), s, metav1.UpdateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			*s = *now
		}
		for _, c := range sockets {
			again(t, c, &next.Host)
		}
		has, gets = gets, has
	}
}

// listens has a host receive datagrams, without ever an answer, and tells whom
// from.
func listens(t testing.TB, h *bed.Host) <-chan netip.AddrPort {
	t.Helper()
	from := make(chan netip.AddrPort, 1000)
	for _, a := range h.Addrs {
		var u *net.UDPConn
		err := h.Do(func() (err error) {
			u, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, telling)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { u.Close() })
		go func() {
			for {
				_, source, err := u.ReadFrom(make([]byte, 100))
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil {
					from <- addrPort(source)
				}
			}
		}()
	}
	return from
}

// reaches sends on a socket until a datagram arrives.
func reaches(t testing.TB, c net.Conn, at <-chan netip.AddrPort) {
	t.Helper()
	eventually(t, fmt.Sprintf("a datagram to %s arrives", c.RemoteAddr()), func(context.Context) error {
		if _, err := c.Write([]byte("news")); err != nil {
			return err
		}
		for end := time.After(silence()); ; {
			select {
			case from := <-at:
				if from == addrPort(c.LocalAddr()) {
					return nil
				}
			case <-end:
				return errors.New("nothing came")
			}
		}
	})
}

// A connection that is never answered is new with each packet, and yet it has its
// endpoint.
func TestDatagramsWithoutAnswersStayWithTheirEndpoint(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "oneway"
	n.namespace(t, ns, nil)
	one, two, client := n.pod(t, ns, "one", nil), n.pod(t, ns, "two", nil), n.pod(t, ns, "client", nil)
	atOne, atTwo := listens(t, &one.Host), listens(t, &two.Host)
	s := n.service(t, ns, "web", nil)
	n.serves(t, ns, "web", &one.Host)
	for _, from := range []*bed.Host{&client.Host, n.Node} {
		for _, to := range frontends(s, 80) {
			open := func() (c net.Conn) {
				eventually(t, fmt.Sprintf("%s has a way to %s", from.Name, to), func(ctx context.Context) (err error) {
					c, err = from.Dial(ctx, "udp", to)
					return err
				})
				t.Cleanup(func() { c.Close() })
				return c
			}
			n.serves(t, ns, "web", &one.Host)
			var sockets []net.Conn
			for range 6 {
				sockets = append(sockets, open())
			}
			for _, c := range sockets {
				reaches(t, c, atOne)
			}
			n.serves(t, ns, "web", &one.Host, &two.Host)
			eventually(t, "the other endpoint is chosen too", func(context.Context) error {
				c := open()
				if _, err := c.Write([]byte("news")); err != nil {
					return err
				}
				select {
				case <-atTwo:
					return nil
				case <-time.After(silence()):
					return errors.New("it was not")
				}
			})
			for _, c := range sockets {
				reaches(t, c, atOne)
			}
		}
	}
}

func TestServicesOutliveTheAgentAndNothingIsWrittenAnew(t *testing.T) {
	n := ownNode(t, 24, 64, bed.Options{})
	n.logIfFailed(t)
	const ns = "outlives"
	n.namespace(t, ns, nil)
	one, two, client := n.pod(t, ns, "one", nil), n.pod(t, ns, "two", nil), n.pod(t, ns, "client", nil)
	serve(t, &one.Host, telling)
	s := n.service(t, ns, "web", func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort })
	n.service(t, ns, "unserved", nil)
	n.serves(t, ns, "web", &one.Host)
	front := frontHost(s)
	var load []*traffic
	for _, family := range []int{4, 6} {
		p := probe{&client.Host, front, family, corev1.ProtocolUDP, 80}
		eventually(t, "somebody serves", func(ctx context.Context) error { return p.send(ctx, silence()) })
		load = append(load, startTraffic(t, &client.Host, front, family))
	}
	before := n.flows(t)
	if err := n.KillAgent(within(t)); err != nil {
		t.Fatal(err)
	}
	for _, l := range load {
		l.moreRounds()
	}
	if err := n.StartAgent(within(t)); err != nil {
		t.Fatal(err)
	}
	for _, l := range load {
		l.moreRounds()
	}
	expectSameFlows(t, before, n.flows(t))
	status, err := n.Client().Status(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if status.Bundles != 0 || status.Cut != 0 {
		t.Errorf("the new agent has written %d bundles with %d changes and cut %d connections", status.Bundles, status.Flows, status.Cut)
	}
	// One more endpoint is no reason to move anybody.
	serve(t, &two.Host, telling)
	n.serves(t, ns, "web", &one.Host, &two.Host)
	eventually(t, "the flows know of another endpoint", func(context.Context) error {
		if after := n.flows(t); len(after) <= len(before) {
			return fmt.Errorf("there are %d, were %d", len(after), len(before))
		}
		return nil
	})
	for _, l := range load {
		l.moreRounds()
		l.stop()
	}
}

const endpointAllows = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: %[1]s, name: guard}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
  - from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: %[2]s}]}}]
    ports: [{port: %[3]d}, {protocol: UDP, port: %[3]d}]
`

func TestPolicyChangeCutsConnectionsThroughAService(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "cutting"
	n.namespace(t, ns, nil)
	server := n.pod(t, ns, "server", map[string]string{"app": "server"})
	kept, cut := n.pod(t, ns, "kept", map[string]string{"app": "kept"}), n.pod(t, ns, "cut", map[string]string{"app": "cut"})
	serve(t, &server.Host, telling)
	s := n.service(t, ns, "web", nil)
	n.serves(t, ns, "web", &server.Host)
	n.apply(t, fmt.Sprintf(endpointAllows, ns, "[kept, cut]", telling))
	front := frontHost(s)
	var live []net.Conn
	var load []*traffic
	for _, family := range []int{4, 6} {
		for _, from := range hosts(kept, cut) {
			p := probe{from, front, family, corev1.ProtocolUDP, 80}
			eventually(t, "it is allowed", func(ctx context.Context) error { return p.send(ctx, silence()) })
		}
		for _, network := range networks {
			live = append(live, dial(t, &cut.Host, network, probe{&cut.Host, front, family, corev1.ProtocolTCP, 80}))
		}
		load = append(load, startTraffic(t, &kept.Host, front, family))
	}
	for _, c := range live {
		if err := n.tracked(within(t), c, true); err != nil {
			t.Error(err)
		}
	}
	n.apply(t, fmt.Sprintf(endpointAllows, ns, "[kept]", telling))
	for _, c := range live {
		eventually(t, "a connection that is no longer allowed is cut", func(context.Context) error {
			if err := bed.Exchange(c, silence()); err == nil {
				return errors.New("it still works")
			}
			return nil
		})
		eventually(t, "it is removed from connection tracking", func(ctx context.Context) error { return n.tracked(ctx, c, false) })
	}
	for _, l := range load {
		l.stop()
	}
}
