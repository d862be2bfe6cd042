package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/test/bed"
)

// telling is the port at which a host tells who it is, and who asks.
const telling = 7000

// tells has a host tell who it is and who asks: TCP clients at once, UDP ones when
// they send.
func tells(t testing.TB, h *bed.Host) {
	t.Helper()
	answer := func(from net.Addr) []byte { return fmt.Appendf(nil, "%s %s", h.Name, addrPort(from).Addr().Unmap()) }
	for _, a := range h.Addrs {
		at := netip.AddrPortFrom(a, telling)
		var l *net.TCPListener
		var u *net.UDPConn
		err := h.Do(func() (err error) {
			if l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at)); err != nil {
				return err
			}
			u, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close(); u.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Write(answer(c.RemoteAddr())) //nolint:errcheck // the client sees it
				c.Close()
			}
		}()
		go func() {
			for {
				_, from, err := u.ReadFrom(make([]byte, 100))
				if err != nil {
					return
				}
				u.WriteTo(answer(from), from) //nolint:errcheck // the client sees it
			}
		}()
	}
}

// ask returns who answers at an address, and whom it takes the client for.
func ask(ctx context.Context, from *bed.Host, network string, to netip.AddrPort) (who string, client netip.Addr, err error) {
	ctx, cancel := context.WithTimeout(ctx, silence())
	defer cancel()
	c, err := from.Dial(ctx, network, to)
	if err != nil {
		return "", client, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return "", client, err
	}
	if network == "udp" {
		if _, err := c.Write([]byte("who?")); err != nil {
			return "", client, err
		}
	}
	text := make([]byte, 200)
	n, err := c.Read(text)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", client, err
	}
	name, addr, _ := strings.Cut(string(text[:n]), " ")
	client, err = netip.ParseAddr(addr)
	return name, client, err
}

// service makes a Service of both families, of TCP and UDP, and returns it with its
// addresses.
func (n *node) service(t testing.TB, namespace, name string, change func(*corev1.ServiceSpec)) *corev1.Service {
	t.Helper()
	both := corev1.IPFamilyPolicyRequireDualStack
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			IPFamilyPolicy: &both,
			Ports: []corev1.ServicePort{
				{Name: "t", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(telling)},
				{Name: "u", Protocol: corev1.ProtocolUDP, Port: 80, TargetPort: intstr.FromInt32(telling)},
			},
		},
	}
	if change != nil {
		change(&s.Spec)
	}
	objects := n.api.Client().CoreV1().Services(namespace)
	made, err := objects.Create(within(t), s, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := objects.Delete(within(t), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		slices := metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name}
		if err := n.api.Client().DiscoveryV1().EndpointSlices(namespace).DeleteCollection(within(t), metav1.DeleteOptions{}, slices); err != nil {
			t.Error(err)
		}
	})
	return made
}

// serves makes endpoints those of a Service, as their controller would. Hosts that
// are no pods are on no node that anybody knows.
func (n *node) serves(t testing.TB, namespace, service string, endpoints ...*bed.Host) {
	t.Helper()
	objects := n.api.Client().DiscoveryV1().EndpointSlices(namespace)
	port := int32(telling)
	var ports []discoveryv1.EndpointPort
	for name, protocol := range map[string]corev1.Protocol{"t": corev1.ProtocolTCP, "u": corev1.ProtocolUDP, "s": corev1.ProtocolSCTP} {
		ports = append(ports, discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &port})
	}
	for family, kind := range map[int]discoveryv1.AddressType{4: discoveryv1.AddressTypeIPv4, 6: discoveryv1.AddressTypeIPv6} {
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: fmt.Sprintf("%s-%d", service, family),
				Labels: map[string]string{discoveryv1.LabelServiceName: service},
			},
			AddressType: kind, Endpoints: []discoveryv1.Endpoint{}, Ports: ports,
		}
		for _, h := range endpoints {
			if !h.Addr(family).IsValid() {
				continue
			}
			e := discoveryv1.Endpoint{Addresses: []string{h.Addr(family).String()}}
			if keyOf(h).Name != "" {
				e.NodeName = &n.name
			}
			slice.Endpoints = append(slice.Endpoints, e)
		}
		_, err := objects.Update(within(t), slice, metav1.UpdateOptions{})
		if err != nil {
			_, err = objects.Create(within(t), slice, metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// answered waits until connections to a Service are answered by exactly the hosts
// wanted, in a number of connections that would have found any other.
func answered(t testing.TB, from *bed.Host, network string, to netip.AddrPort, want ...*bed.Host) (clients map[netip.Addr]bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to %s %s", from.Name, network, to), func(ctx context.Context) error {
		got := map[string]bool{}
		clients = map[netip.Addr]bool{}
		for range 8 * max(1, len(want)) {
			who, client, err := ask(ctx, from, network, to)
			if err != nil {
				return err
			}
			got[who], clients[client] = true, true
		}
		for _, h := range want {
			if !got[h.Name] {
				return fmt.Errorf("%s was never chosen, only %v", h.Name, got)
			}
			delete(got, h.Name)
		}
		if len(got) > 0 {
			return fmt.Errorf("also chosen: %v", got)
		}
		return nil
	})
	return clients
}

func frontends(s *corev1.Service, port uint16) (all []netip.AddrPort) {
	for _, ip := range s.Spec.ClusterIPs {
		all = append(all, netip.AddrPortFrom(netip.MustParseAddr(ip), port))
	}
	return all
}

func TestServicesLeadToTheirEndpoints(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "services"
	n.namespace(t, ns, nil)
	one, two, client := n.pod(t, ns, "one", nil), n.pod(t, ns, "two", nil), n.pod(t, ns, "client", nil)
	far := n.Outside(other4)
	for _, p := range []*bed.Pod{one, two} {
		tells(t, &p.Host)
	}
	s := n.service(t, ns, "web", func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort })
	for _, network := range []string{"tcp", "udp"} {
		for _, to := range frontends(s, 80) {
			for _, from := range []*bed.Host{&client.Host, n.Node} {
				// The kernel sends no more than one ICMP error a second to a host, and its
				// own processes none: they may not send.
				eventually(t, fmt.Sprintf("%s %s is refused: nobody serves it", network, to), func(ctx context.Context) error {
					if _, _, err := ask(ctx, from, network, to); !errors.Is(err, syscall.ECONNREFUSED) && !(from == n.Node && errors.Is(err, syscall.EPERM)) {
						return fmt.Errorf("from %s: %v", from.Name, err)
					}
					return nil
				})
			}
		}
	}
	n.serves(t, ns, "web", &one.Host, &two.Host)
	for i, network := range []string{"tcp", "udp"} {
		for _, to := range frontends(s, 80) {
			answered(t, &client.Host, network, to, &one.Host, &two.Host)
			answered(t, &one.Host, network, to, &one.Host, &two.Host) // itself, too
			answered(t, n.Node, network, to, &one.Host, &two.Host)
		}
		for _, a := range n.Node.Addrs {
			port := netip.AddrPortFrom(a, uint16(s.Spec.Ports[i].NodePort))
			answered(t, &client.Host, network, port, &one.Host, &two.Host)
			answered(t, n.Node, network, port, &one.Host, &two.Host)
			if a.Is4() {
				clients := answered(t, far, network, port, &one.Host, &two.Host)
				if len(clients) != 1 || !clients[other4] {
					t.Errorf("clients are taken for %v, want the one there is: %s", clients, other4)
				}
			}
		}
	}
	n.serves(t, ns, "web", &two.Host)
	for _, network := range []string{"tcp", "udp"} {
		for _, to := range frontends(s, 80) {
			answered(t, &client.Host, network, to, &two.Host)
		}
	}
}

func TestEgressToAServiceIsJudgedByItsEndpoint(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "judged"
	n.namespace(t, ns, nil)
	good, bad := n.pod(t, ns, "good", map[string]string{"app": "good"}), n.pod(t, ns, "bad", map[string]string{"app": "bad"})
	client := n.pod(t, ns, "client", map[string]string{"app": "client"})
	for _, p := range []*bed.Pod{good, bad} {
		tells(t, &p.Host)
	}
	s := n.service(t, ns, "web", nil)
	n.serves(t, ns, "web", &good.Host)
	n.apply(t, fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: %s, name: client}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress:
  - to: [{podSelector: {matchLabels: {app: good}}}]
    ports: [{port: %[2]d}, {protocol: UDP, port: %[2]d}]
`, ns, telling))
	for _, network := range []string{"tcp", "udp"} {
		for _, to := range frontends(s, 80) {
			answered(t, &client.Host, network, to, &good.Host)
		}
	}
	n.serves(t, ns, "web", &bad.Host)
	for _, network := range []string{"tcp", "udp"} {
		for _, to := range frontends(s, 80) {
			eventually(t, "the endpoint is not allowed", func(ctx context.Context) error {
				who, _, err := ask(ctx, &client.Host, network, to)
				if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
					return nil
				}
				return fmt.Errorf("%s %s: answer of %q, %v", network, to, who, err)
			})
		}
	}
}

func TestClientStaysWithItsEndpointByAffinity(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "affine"
	n.namespace(t, ns, nil)
	var endpoints []*bed.Host
	for i := range 4 {
		p := n.pod(t, ns, fmt.Sprintf("e%d", i), nil)
		tells(t, &p.Host)
		endpoints = append(endpoints, &p.Host)
	}
	client := n.pod(t, ns, "client", nil)
	limit := sandboxtest.Run(t, n.OVS, "ovs-vsctl", "--columns=flow_limit,overflow_policy", "--bare", "find", "flow_table", "name=ServiceAffinity")
	if fields := strings.Fields(limit); !slices.Equal(fields, []string{"65536", "evict"}) {
		t.Errorf("what the switch learns has the limit %q", fields)
	}
	for _, network := range []string{"tcp", "udp"} {
		for i := range 2 { // families
			name := fmt.Sprintf("%s-%d", network, i)
			to := frontends(n.service(t, ns, name, func(s *corev1.ServiceSpec) { s.SessionAffinity = corev1.ServiceAffinityClientIP }), 80)[i]
			n.serves(t, ns, name, endpoints[:2]...)
			var who string
			eventually(t, "somebody serves", func(ctx context.Context) (err error) {
				who, _, err = ask(ctx, &client.Host, network, to)
				return err
			})
			n.serves(t, ns, name, endpoints...) // more of them are no reason to leave
			for range 20 {
				now, _, err := ask(within(t), &client.Host, network, to)
				if err != nil || now != who {
					t.Fatalf("%s %s: %s served, and then %s, %v", network, to, who, now, err)
				}
			}
			others := slices.DeleteFunc(slices.Clone(endpoints), func(h *bed.Host) bool { return h.Name == who })
			n.serves(t, ns, name, others...) // its own is gone
			eventually(t, "another serves", func(ctx context.Context) error {
				now, _, err := ask(ctx, &client.Host, network, to)
				if err == nil && now == who {
					err = fmt.Errorf("%s still does", now)
				}
				return err
			})
		}
	}
}
