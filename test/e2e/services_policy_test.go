package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/test/bed"
)

// unanswered waits until a connection gets no answer at all, neither a refusal.
func unanswered(t testing.TB, from *bed.Host, network string, to netip.AddrPort) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to %s %s gets no answer", from.Name, network, to), func(ctx context.Context) error {
		who, _, err := ask(ctx, from, network, to)
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			return nil
		}
		return fmt.Errorf("answer of %q, %v", who, err)
	})
}

// networks are those at which a host tells.
var networks = []string{"tcp", "udp"}

func TestTrafficPoliciesKeepConnectionsOnTheNode(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "local"
	n.namespace(t, ns, nil)
	near, client := n.pod(t, ns, "near", nil), n.pod(t, ns, "client", nil)
	far := []*bed.Host{n.Outside(partner4), n.Outside(partner6)} // an endpoint of another node
	for _, h := range append(far, &near.Host) {
		tells(t, h)
	}
	outside := []*bed.Host{n.Outside(other4), n.Outside(other6)}
	inner := n.service(t, ns, "inner", func(s *corev1.ServiceSpec) {
		local := corev1.ServiceInternalTrafficPolicyLocal
		s.InternalTrafficPolicy = &local
	})
	outer := n.service(t, ns, "outer", func(s *corev1.ServiceSpec) {
		s.Type, s.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, corev1.ServiceExternalTrafficPolicyLocal
	})
	nodePorts := func(i int) (at []netip.AddrPort) {
		for _, a := range n.Node.Addrs {
			at = append(at, netip.AddrPortFrom(a, uint16(outer.Spec.Ports[i].NodePort)))
		}
		return at
	}

	for _, name := range []string{"inner", "outer"} {
		n.serves(t, ns, name, append(far, &near.Host)...)
	}
	for i, network := range networks {
		for family, to := range frontends(inner, 80) {
			answered(t, &client.Host, network, to, &near.Host)
			answered(t, &client.Host, network, frontends(outer, 80)[family], &near.Host, far[family])
			answered(t, n.Node, network, frontends(outer, 80)[family], &near.Host, far[family])
		}
		for family, to := range nodePorts(i) {
			clients := answered(t, outside[family], network, to, &near.Host)
			if own := outside[family].Addrs[0]; len(clients) != 1 || !clients[own] {
				t.Errorf("clients are taken for %v, want the one there is: %s", clients, own)
			}
			answered(t, &client.Host, network, to, &near.Host, far[family])
		}
	}
	for _, name := range []string{"inner", "outer"} {
		n.serves(t, ns, name, far...)
	}
	for i, network := range networks {
		for family, to := range frontends(inner, 80) {
			unanswered(t, &client.Host, network, to)
			unanswered(t, outside[family], network, nodePorts(i)[family])
			answered(t, &client.Host, network, nodePorts(i)[family], far[family])
			// The answers come back to the bridge since it gave the connection a source of
			// its own, which the node then hides.
			clients := answered(t, n.Node, network, nodePorts(i)[family], far[family])
			if own := n.Node.Addrs[family]; len(clients) != 1 || !clients[own] {
				t.Errorf("clients are taken for %v, want the node: %s", clients, own)
			}
		}
	}
}

func TestExternalAddressesLeadToEndpoints(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "external"
	n.namespace(t, ns, nil)
	server, client := n.pod(t, ns, "server", nil), n.pod(t, ns, "client", nil)
	tells(t, &server.Host)
	external := []string{"192.0.2.77", "2001:db8:2::77"}
	balancer := []string{"192.0.2.78", "2001:db8:2::78"}
	s := n.service(t, ns, "web", func(s *corev1.ServiceSpec) {
		s.Type, s.ExternalIPs = corev1.ServiceTypeLoadBalancer, external
	})
	for _, a := range balancer {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	objects := n.api.Client().CoreV1().Services(ns)
	s, err := objects.UpdateStatus(within(t), s, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.serves(t, ns, "web", &server.Host)
	outside, others := []*bed.Host{n.Outside(other4), n.Outside(other6)}, []*bed.Host{n.Outside(guest4), n.Outside(guest6)}
	at := func(addr string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(addr), 80) }
	for _, network := range networks {
		for family := range external {
			for _, from := range []*bed.Host{&client.Host, &server.Host, n.Node, outside[family], others[family]} {
				answered(t, from, network, at(external[family]), &server.Host)
				answered(t, from, network, at(balancer[family]), &server.Host)
			}
		}
	}
	// Ranges hold for clients inside the cluster, too, and for the node by its own
	// address.
	inside := []*bed.Host{&client.Host, n.Node}
	only := func(clients ...*bed.Host) {
		t.Helper()
		s.Spec.LoadBalancerSourceRanges = nil
		for _, c := range clients {
			for _, a := range c.Addrs {
				s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, netip.PrefixFrom(a, a.BitLen()).String())
			}
		}
		if s, err = objects.Update(within(t), s, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	only(outside...)
	for _, network := range networks {
		for family := range external {
			for _, from := range append(inside, others[family]) {
				unanswered(t, from, network, at(balancer[family]))
				answered(t, from, network, at(external[family]), &server.Host)
			}
			answered(t, outside[family], network, at(balancer[family]), &server.Host)
		}
	}
	only(inside...)
	for _, network := range networks {
		for family := range external {
			for _, from := range inside {
				answered(t, from, network, at(balancer[family]), &server.Host)
			}
			unanswered(t, outside[family], network, at(balancer[family]))
			unanswered(t, &server.Host, network, at(balancer[family]))
		}
	}
}

// Where a load balancer lets packets keep its address as their destination, the cloud's
// agent may have made that one of the node's own, by a route and on no interface.
func TestALoadBalancersAddressMayBeLocalToTheNode(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "passthrough"
	n.namespace(t, ns, nil)
	server := n.pod(t, ns, "server", nil)
	tells(t, &server.Host)
	s := n.service(t, ns, "web", func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeLoadBalancer })
	balancer := []string{"192.0.2.87", "2001:db8:2::87"}
	for _, a := range balancer {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	if _, err := n.api.Client().CoreV1().Services(ns).UpdateStatus(within(t), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.serves(t, ns, "web", &server.Host)
	outside := []*bed.Host{n.Outside(other4), n.Outside(other6)}
	for family, a := range balancer {
		to := netip.AddrPortFrom(netip.MustParseAddr(a), 80)
		check := func() {
			t.Helper()
			for _, network := range networks {
				for _, from := range []*bed.Host{outside[family], n.Node} {
					answered(t, from, network, to, &server.Host)
				}
			}
		}
		check()
		withdraw := n.localRoute(t, to.Addr())
		check()
		withdraw()
		check()
	}
}

// localRoute makes an address one of the node's own until the function is called.
func (n *node) localRoute(t testing.TB, a netip.Addr) (withdraw func()) {
	t.Helper()
	change := func(change func(*netlink.Route) error) {
		t.Helper()
		err := n.Node.Do(func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			return change(&netlink.Route{
				Dst: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}, LinkIndex: lo.Attrs().Index,
				Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Protocol: 66,
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change(netlink.RouteAdd)
	return func() { change(netlink.RouteDel) }
}

func TestIsolatedPodReachesItselfThroughItsService(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	const ns = "alone"
	n.namespace(t, ns, nil)
	pod, other := n.pod(t, ns, "pod", map[string]string{"app": "pod"}), n.pod(t, ns, "other", nil)
	tells(t, &pod.Host)
	s := n.service(t, ns, "web", nil)
	n.serves(t, ns, "web", &pod.Host)
	n.apply(t, fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: %s, name: alone}
spec: {podSelector: {matchLabels: {app: pod}}, policyTypes: [Ingress, Egress]}
`, ns))
	for _, network := range networks {
		for _, to := range frontends(s, 80) {
			unanswered(t, &other.Host, network, to)
			answered(t, &pod.Host, network, to, &pod.Host)
		}
	}
}
