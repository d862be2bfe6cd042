package own

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/cluster/testbed"
)

// balanced says why the cluster's Services are not Sluice's.
func balanced(c *testbed.Cluster) string {
	if c.Options.Proxy {
		return "kube-proxy does Services"
	}
	return sluice(c)
}

// podLabel is the label of pods with their own name.
const podLabel = "pod"

// balancers are the Services that tests share.
type balancers struct {
	all, first, last   *corev1.Service // of app a: all pods, that of the first node, that of the last one
	local, localLast   *corev1.Service // as all and last, with externalTrafficPolicy Local
	sticky, self, none *corev1.Service
}

// shared returns the Services, which the first test that asks makes, and has pods
// tell who they are.
func (e *env) shared(ctx context.Context) (*balancers, error) {
	if e.services != nil {
		return e.services, nil
	}
	for _, p := range e.pods {
		stop, err := tell(p.Host)
		if err != nil {
			return nil, err
		}
		e.stops = append(e.stops, stop)
	}
	nodePort := func(s *corev1.ServiceSpec) {
		s.Type = corev1.ServiceTypeNodePort
	}
	local := func(s *corev1.ServiceSpec) {
		nodePort(s)
		s.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	sticky := func(s *corev1.ServiceSpec) { s.SessionAffinity = corev1.ServiceAffinityClientIP }
	var b balancers
	for _, s := range []struct {
		to           **corev1.Service
		name         string
		label, value string
		change       func(*corev1.ServiceSpec)
	}{
		{&b.all, "all", "app", "a", nil},
		{&b.first, "first", podLabel, e.pod("a", 0).Name, nil},
		{&b.last, "last", podLabel, e.pod("a", e.last()).Name, nodePort},
		{&b.local, "local", "app", "a", local},
		{&b.localLast, "local-last", podLabel, e.pod("a", e.last()).Name, local},
		{&b.sticky, "sticky", "app", "a", sticky},
		{&b.self, "self", podLabel, e.pod("b", 0).Name, nil},
		{&b.none, "none", "app", "nobody", nodePort},
	} {
		made, err := e.service(ctx, s.name, s.label, s.value, s.change)
		if err != nil {
			return nil, err
		}
		*s.to = made
	}
	e.services = &b
	return &b, nil
}

// withServices is the run of a test of Services.
func withServices(run func(context.Context, *env, *balancers) error) func(context.Context, *env) (string, error) {
	return plain(func(ctx context.Context, e *env) error {
		b, err := e.shared(ctx)
		if err != nil {
			return err
		}
		return run(ctx, e, b)
	})
}

// eventuallyLed waits until clients are led to hosts, and to no other.
func eventuallyLed(ctx context.Context, from *bed.Host, addrs []netip.AddrPort, want ...string) error {
	return over(addrs, func(network string, at netip.AddrPort) error {
		return until(ctx, func() error { return led(ctx, from, network, at, want...) })
	})
}

// namesOf are the names of the pods of an app.
func (e *env) namesOf(app string) (names []string) {
	for i := range e.nodes {
		names = append(names, e.pod(app, i).Name)
	}
	return names
}

// A pod with hostNetwork is the node's network namespace, as in nodesAndPods.
func serviceLeads(ctx context.Context, e *env, b *balancers) error {
	var errs []error
	for _, from := range []*bed.Host{e.pod("b", 0).Host, e.pod("b", e.last()).Host, e.nodes[0], e.nodes[e.last()]} {
		errs = append(errs, eventuallyLed(ctx, from, clusterAddrs(b.all), e.namesOf("a")...))
	}
	return errors.Join(errs...)
}

func nodePortsLead(ctx context.Context, e *env, b *balancers) error {
	var errs []error
	for _, node := range e.nodes {
		for _, from := range []*bed.Host{e.outside, e.nodes[0]} {
			if from != node {
				errs = append(errs, eventuallyLed(ctx, from, nodePorts(b.last, node), e.pod("a", e.last()).Name))
			}
		}
	}
	return errors.Join(errs...)
}

func localKeepsTheClient(ctx context.Context, e *env, b *balancers) error {
	var errs []error
	for i, node := range e.nodes {
		errs = append(errs, eventuallyLed(ctx, e.outside, nodePorts(b.local, node), e.pod("a", i).Name),
			over(nodePorts(b.local, node), func(network string, at netip.AddrPort) error {
				t, err := ask(ctx, e.outside, network, at, answers)
				if err == nil && t.seen != t.own {
					err = fmt.Errorf("%s sees a client of %s %s as %s, want %s", t.who, network, at, t.seen, t.own)
				}
				return err
			}))
	}
	errs = append(errs, eventuallyLed(ctx, e.outside, nodePorts(b.localLast, e.nodes[e.last()]), e.pod("a", e.last()).Name))
	if e.last() > 0 { // where there is no endpoint, nobody answers
		errs = append(errs, over(nodePorts(b.localLast, e.nodes[0]), func(network string, at netip.AddrPort) error {
			return unanswered(ctx, e.outside, network, at)
		}))
	}
	return errors.Join(errs...)
}

func affinityHolds(ctx context.Context, e *env, b *balancers) error {
	var errs []error
	for _, from := range []*bed.Host{e.pod("b", 0).Host, e.pod("b", e.last()).Host, e.nodes[0]} {
		errs = append(errs, over(clusterAddrs(b.sticky), func(network string, at netip.AddrPort) error {
			var first told
			err := until(ctx, func() (err error) {
				first, err = ask(ctx, from, network, at, answers)
				return err
			})
			if err != nil {
				return err
			}
			return led(ctx, from, network, at, first.who)
		}))
	}
	return errors.Join(errs...)
}

func podReachesItself(ctx context.Context, e *env, b *balancers) error {
	self := e.pod("b", 0)
	return eventuallyLed(ctx, self.Host, clusterAddrs(b.self), self.Name)
}

// noEndpointRefuses asks as who is told at once; else nothing would come.
func noEndpointRefuses(ctx context.Context, e *env, b *balancers) error {
	refused := func(from *bed.Host, addrs []netip.AddrPort) error {
		return over(addrs, func(network string, at netip.AddrPort) error {
			want := unix.ECONNREFUSED
			if network == "udp" && slices.Contains(e.nodes, from) {
				want = unix.EPERM // what the node's own kernel does not let out
			}
			// It may be so new that the node doesn't know it.
			return until(ctx, func() error {
				if _, err := ask(ctx, from, network, at, answers); !errors.Is(err, want) {
					return fmt.Errorf("%v, want %w", err, want)
				}
				return nil
			})
		})
	}
	return errors.Join(
		refused(e.pod("b", 0).Host, clusterAddrs(b.none)),
		refused(e.nodes[e.last()], clusterAddrs(b.none)),
		refused(e.outside, nodePorts(b.none, e.nodes[0])),
	)
}

// endpointGoes deletes the pod that a client's sockets are led to, and has them go
// on sending.
func endpointGoes(ctx context.Context, e *env, _ *balancers) (err error) {
	const label, name = "leads", "goes"
	stays, from := e.pod("a", 0), e.pod("b", 0).Host
	pods := e.client.CoreV1().Pods(namespace)
	mark := func(ctx context.Context, value string) error {
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, label, value)
		_, err := pods.Patch(ctx, stays.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	if err := mark(ctx, `"yes"`); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mark(context.WithoutCancel(ctx), "null")) }()
	s, err := e.service(ctx, name, label, "yes", nil)
	if err != nil {
		return err
	}
	spec := podOn(e.cluster.Plan.Nodes[e.last()].Name, name, name, "pause")
	spec.Labels[label] = "yes"
	made, err := e.runPods(ctx, spec)
	if err != nil {
		return err
	}
	stop, err := tell(made[0].Host)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	addrs := clusterAddrs(s)
	if err := eventuallyLed(ctx, from, addrs, stays.Name, name); err != nil {
		return errors.Join(err, e.deletePod(ctx, name))
	}
	var sockets []net.Conn
	defer func() {
		for _, c := range sockets {
			c.Close()
		}
	}()
	for _, at := range addrs {
		err := until(ctx, func() error {
			c, err := from.Dial(ctx, "udp", at)
			if err != nil {
				return err
			}
			t, err := listen(c, answers)
			if err != nil || t.who != name {
				c.Close()
				return errors.Join(fmt.Errorf("%s is not led to %s", from.Name, name), err)
			}
			sockets = append(sockets, c)
			return nil
		})
		if err != nil {
			return errors.Join(err, e.deletePod(ctx, name))
		}
	}
	if err := e.deletePod(ctx, name); err != nil {
		return err
	}
	var errs []error
	for _, c := range sockets {
		errs = append(errs, until(ctx, func() error {
			t, err := listen(c, silence)
			if err == nil && t.who != stays.Name {
				err = fmt.Errorf("a socket is still led to %s", t.who)
			}
			return err
		}))
	}
	return errors.Join(append(errs, eventuallyLed(ctx, from, addrs, stays.Name))...)
}

// egressToServices allows pods an endpoint on the last node, at the port that it
// has itself: the Services' addresses and port are in no rule.
func egressToServices(ctx context.Context, e *env, b *balancers) error {
	allowed, other := e.pod("a", e.last()), e.pod("a", 0)
	clients := []*bed.Host{e.pod("b", 0).Host, e.pod("b", e.last()).Host}
	remove, err := e.apply(ctx, "b-reaches-one-a", networkingv1.NetworkPolicySpec{
		PodSelector: app("b"), PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress: []networkingv1.NetworkPolicyEgressRule{{
			To: []networkingv1.NetworkPolicyPeer{{
				PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{podLabel: allowed.Name}},
			}},
			Ports: portsOf(telling),
		}},
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, from := range clients {
		if e.last() > 0 {
			errs = append(errs, over(clusterAddrs(b.first), func(network string, at netip.AddrPort) error {
				return until(ctx, func() error { return unanswered(ctx, from, network, at) })
			}))
		}
		errs = append(errs, eventuallyLed(ctx, from, clusterAddrs(b.last), allowed.Name))
	}
	if err := errors.Join(append(errs, remove())...); err != nil {
		return err
	}
	for _, from := range clients {
		errs = append(errs, eventuallyLed(ctx, from, clusterAddrs(b.first), other.Name))
	}
	return errors.Join(errs...)
}
