package own

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cni/sluice/test/bed"
)

// apply creates a policy; the returned function deletes it.
func (e *env) apply(ctx context.Context, name string, spec networkingv1.NetworkPolicySpec) (remove func() error, err error) {
	policies := e.client.NetworkingV1().NetworkPolicies(namespace)
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	if _, err := policies.Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("create policy %s: %w", name, err)
	}
	return func() error { return policies.Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{}) }, nil
}

func app(name string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

// peersOfB are the pods of app b.
var peersOfB = []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "b"}}}}

func ingressPolicy(ctx context.Context, e *env) error {
	server := e.pod("a", 0).Host
	denies := []*bed.Host{e.pod("a", e.last()).Host}
	allows := []*bed.Host{e.pod("b", 0).Host, e.pod("b", e.last()).Host}
	if e.last() > 0 {
		denies = append(denies, e.nodes[e.last()])
	}
	remove, err := e.apply(ctx, "only-b-reaches-a", networkingv1.NetworkPolicySpec{
		PodSelector: app("a"), Ingress: []networkingv1.NetworkPolicyIngressRule{{From: peersOfB, Ports: portsOf(port)}},
	})
	if err != nil {
		return err
	}
	return e.enforced(ctx, remove, denies, allows,
		func(h *bed.Host) (from, to *bed.Host) { return h, server })
}

func egressPolicy(ctx context.Context, e *env) error {
	client := e.pod("a", 0).Host
	denies := []*bed.Host{e.pod("a", e.last()).Host, e.outside}
	allows := []*bed.Host{e.pod("b", 0).Host, e.pod("b", e.last()).Host}
	remove, err := e.apply(ctx, "a-reaches-only-b", networkingv1.NetworkPolicySpec{
		PodSelector: app("a"), PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress: []networkingv1.NetworkPolicyEgressRule{{To: peersOfB, Ports: portsOf(port)}},
	})
	if err != nil {
		return err
	}
	return e.enforced(ctx, remove, denies, allows,
		func(h *bed.Host) (from, to *bed.Host) { return client, h })
}

// portsOf allows a port over TCP and UDP.
func portsOf(number int32) (ports []networkingv1.NetworkPolicyPort) {
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
		p := intstr.FromInt32(number)
		ports = append(ports, networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &p})
	}
	return ports
}

// enforced waits until a policy has taken hold of what it denies, checks that
// what it allows still passes, removes it, and waits until all passes again.
func (e *env) enforced(ctx context.Context, remove func() error, denies, allows []*bed.Host, way func(*bed.Host) (from, to *bed.Host)) error {
	each := func(hosts []*bed.Host, check func(ctx context.Context, from, to *bed.Host) error) error {
		var errs []error
		for _, h := range hosts {
			from, to := way(h)
			errs = append(errs, check(ctx, from, to))
		}
		return errors.Join(errs...)
	}
	err := until(ctx, func() error { return each(denies, denied) })
	if err == nil {
		err = each(allows, reach)
	}
	if err == nil { // and not only for a moment
		err = each(denies, denied)
	}
	if err := errors.Join(err, remove()); err != nil {
		return err
	}
	return until(ctx, func() error { return each(denies, reach) })
}

// probes runs a pod that is ready once its kubelet has reached it.
func probes(ctx context.Context, e *env) error {
	remove, err := e.apply(ctx, "nobody-reaches-probed", networkingv1.NetworkPolicySpec{PodSelector: app("probed")})
	if err != nil {
		return err
	}
	const probed = 8080
	spec := podOn(e.cluster.Plan.Nodes[0].Name, "probed", "probed", "netexec", fmt.Sprintf("--http-port=%d", probed))
	spec.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		PeriodSeconds: 1,
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(probed)}},
	}
	err = e.probe(ctx, spec)
	return errors.Join(err, remove(), e.deletePod(ctx, spec.Name))
}

func (e *env) probe(ctx context.Context, spec *corev1.Pod) error {
	pods, err := e.runPods(ctx, spec)
	if err != nil {
		return err
	}
	err = until(ctx, func() error {
		object, err := e.client.CoreV1().Pods(namespace).Get(ctx, spec.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range object.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("pod %s is not ready", spec.Name)
	})
	if err != nil {
		return err
	}
	target := pods[0].Host
	for _, network := range networks {
		stop, err := target.Serve(network, port)
		if err != nil {
			return err
		}
		defer stop()
	}
	errs := []error{reach(ctx, e.nodes[0], target), denied(ctx, e.pod("a", 0).Host, target), denied(ctx, e.outside, target)}
	if e.last() > 0 {
		errs = append(errs, denied(ctx, e.nodes[e.last()], target), denied(ctx, e.pod("a", e.last()).Host, target))
	}
	return errors.Join(errs...)
}

func (e *env) deletePod(ctx context.Context, name string) error {
	return e.client.CoreV1().Pods(namespace).Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{})
}
