package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/policy"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

// standingPolicies is how many policies stand when one more is written.
const standingPolicies = 1000

const benchNamespace = "bench"

// appLabels are the labels of the i-th pod: there are ten applications.
func appLabels(i int) map[string]string { return map[string]string{"app": fmt.Sprintf("a%d", i%10)} }

// policyPort is the port that only the i-th policy names.
func policyPort(i int) int { return 10_000 + i }

// policyOf lets one application reach another at a port of the policy's own.
func policyOf(i int) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: benchNamespace, Name: fmt.Sprintf("p%d", i)},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: appLabels(i)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: appLabels(i + 1)}}},
				Ports: []networkingv1.NetworkPolicyPort{{Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(intstr.FromInt32(int32(policyPort(i))))}},
			}},
		},
	}
}

// smallCluster are a namespace, a hundred pods with two of each application on
// the node, and policies.
func smallCluster(node string, policies int, addr func(i int) netip.Addr) []cluster.Event {
	events := []cluster.Event{{Namespace: &cluster.Namespace{Name: benchNamespace}}}
	for i := range 100 {
		p := &cluster.Pod{
			Key: cluster.Key{Namespace: benchNamespace, Name: fmt.Sprintf("pod%d", i)}, UID: fmt.Sprintf("uid%d", i),
			Labels: appLabels(i), IPs: []netip.Addr{addr(i)}, Node: "elsewhere",
		}
		if i < 20 {
			p.Node = node
		}
		events = append(events, cluster.Event{Pod: p})
	}
	for i := range policies {
		events = append(events, cluster.Event{Policy: policyOf(i)})
	}
	return append(events, cluster.Event{Synced: true})
}

// benchWrite measures a policy's way from its event to the committed bundle, and
// the parts of that way.
func benchWrite(ctx context.Context, r *report) (err error) {
	const n = 100
	addr := func(i int) netip.Addr { return address("10.244.0.2", i) }
	events := smallCluster("n1", standingPolicies, addr)

	bed, err := simulate.Start(ctx, simulate.Options{Node: "n1", PodCIDRs: nodeOf().PodCIDRs})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	for i := range 20 {
		p := events[1+i].Pod
		if err := bed.Attach(ctx, p.Key, p.UID, p.IPs); err != nil {
			return err
		}
	}
	bed.Emit(events)
	first, err := clock(func() error { return bed.Sync(ctx) })
	if err != nil {
		return err
	}
	whole, err := repeat(n, func(i int) error {
		bed.Emit([]cluster.Event{{Policy: policyOf(standingPolicies + i)}})
		return bed.Sync(ctx)
	})
	if err != nil {
		return err
	}
	idle, err := repeat(n, func(int) error { return bed.Sync(ctx) })
	if err != nil {
		return err
	}

	compile, txs, err := compileOnly(events, n)
	if err != nil {
		return err
	}
	s, err := newSwitchboard(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	commit, err := repeat(n, func(i int) error { return s.Commit(ctx, txs[i]) })
	if err != nil {
		return err
	}
	empty, err := repeat(n, func(int) error { return exec.CommandContext(ctx, "ovs-ofctl", "--version").Run() })
	if err != nil {
		return err
	}
	channel, err := openChannel(ctx, s.Target())
	if err != nil {
		return err
	}
	defer channel.close()
	native, err := repeat(n, func(i int) error { return channel.commit(uint16(i)) })
	if err != nil {
		return err
	}
	const of = "a bundle of one flow over an open OpenFlow connection"
	r.latencies(fmt.Sprintf("policy event to bundle committed, %d policies standing", standingPolicies), whole, native, of)
	r.latencies("of it: compile and Apply", compile, native, of)
	r.latencies("of it: Commit of the same changes", commit, native, of)
	r.latencies("instead, openflow: ofctl: a start of ovs-ofctl that does nothing", empty, native, of)
	r.latencies("Sync that has nothing to write", idle, native, of)
	r.figure(fmt.Sprintf("%d policies at once, event to bundle committed", standingPolicies), seconds(first))
	return nil
}

// compileOnly does what the enforcer does before it writes, without a bridge.
func compileOnly(events []cluster.Event, n int) (times, []*openflow.Transaction, error) {
	c, p := policy.New("n1"), flows.New()
	for i := range 20 {
		pod := events[1+i].Pod
		mac := portOf(i, 1).Port.MAC
		c.SetPort(policy.LocalPort{Name: pod.Name, OFPort: uint32(i + 2), MAC: mac, Addrs: pod.IPs, Pod: pod.Key, UID: pod.UID})
	}
	apply := func(d flows.Delta) (*openflow.Transaction, error) {
		changes, err := p.Apply(d)
		return &openflow.Transaction{Add: changes.Add, Delete: changes.Delete}, err
	}
	c.Update(events...)
	d, _ := c.Flush()
	d.Node = nodeOf()
	if _, err := apply(d); err != nil {
		return nil, nil, err
	}
	var txs []*openflow.Transaction
	took, err := repeat(n, func(i int) error {
		c.Update(cluster.Event{Policy: policyOf(standingPolicies + i)})
		d, _ := c.Flush()
		tx, err := apply(d)
		txs = append(txs, tx)
		return err
	})
	return took, txs, err
}
