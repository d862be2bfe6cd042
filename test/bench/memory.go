package main

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/policy"
)

const (
	manyNamespaces = 100
	podsPerNS      = 100 // the first of each is on this node
	policiesPerNS  = 10
)

// manyPods are 10,000 pods in 100 namespaces, with labels as a Deployment gives
// them.
func manyPods() []cluster.Event {
	var events []cluster.Event
	for n := range manyNamespaces {
		ns := fmt.Sprintf("ns%d", n)
		events = append(events, cluster.Event{Namespace: &cluster.Namespace{Name: ns, Labels: map[string]string{"team": fmt.Sprintf("t%d", n%10)}}})
		for i := range podsPerNS {
			p := &cluster.Pod{
				Key: cluster.Key{Namespace: ns, Name: fmt.Sprintf("app%d-%08x", i%10, i)}, UID: fmt.Sprintf("%08x-%04x", n, i), Node: "elsewhere",
				Labels: map[string]string{"app": fmt.Sprintf("a%d", i%10), "tier": fmt.Sprintf("t%d", i%3), "pod-template-hash": fmt.Sprintf("%08x", i)},
				IPs:    []netip.Addr{address("10.0.0.0", n*podsPerNS+i)},
			}
			if i == 0 {
				p.Node = "n1"
			}
			events = append(events, cluster.Event{Pod: p})
		}
	}
	return events
}

// manyPolicies are 1,000 policies that all matter on this node: each lets an
// application of the namespace and one of a team in, at two ports.
func manyPolicies() []cluster.Event {
	var events []cluster.Event
	for n := range manyNamespaces {
		for i := range policiesPerNS {
			p := policyOf(n*policiesPerNS + i)
			p.Namespace = fmt.Sprintf("ns%d", n)
			p.Spec.PodSelector = metav1.LabelSelector{}
			p.Spec.Ingress[0].From = append(p.Spec.Ingress[0].From, networkingv1.NetworkPolicyPeer{
				PodSelector:       &metav1.LabelSelector{MatchLabels: appLabels(i + 2)},
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": fmt.Sprintf("t%d", i)}},
			})
			events = append(events, cluster.Event{Policy: p})
		}
	}
	return events
}

// benchMemory weighs what compiler and pipeline keep. The reference is the heap
// of the trimmed objects themselves, which the compiler keeps too.
func benchMemory(_ context.Context, r *report) error {
	pods := manyPods()
	nPods, nPolicies := manyNamespaces*podsPerNS, manyNamespaces*policiesPerNS
	empty := heap()
	objects := manyPods()
	podObjects := heap() - empty
	runtime.KeepAlive(objects)
	before := heap()
	specs := manyPolicies()
	policyObjects := heap() - before

	c, p := policy.New("n1"), flows.New()
	for i, e := range pods {
		if e.Pod == nil || e.Pod.Node != "n1" {
			continue
		}
		port := portOf(i, 1).Port
		c.SetPort(policy.LocalPort{Name: port.Name, OFPort: port.OFPort, MAC: port.MAC, Addrs: e.Pod.IPs, Pod: e.Pod.Key, UID: e.Pod.UID})
	}
	step := func(events []cluster.Event, node *flows.Node) (uint64, error) {
		before := heap()
		c.Update(events...)
		d, _ := c.Flush()
		d.Node = node
		_, err := p.Apply(d)
		d = flows.Delta{}
		return heap() - before, err
	}
	podState, err := step(append(pods, cluster.Event{Synced: true}), nodeOf())
	if err != nil {
		return err
	}
	policyState, err := step(specs, nil)
	if err != nil {
		return err
	}
	n := 0
	for range p.Flows() {
		n++
	}
	per := func(b uint64, n int) quantity { return size(float64(b) / float64(n)) }
	r.against(fmt.Sprintf("%d pods without policies, per pod", nPods), per(podState, nPods), per(podObjects, nPods), "the trimmed pod itself")
	r.against(fmt.Sprintf("%d policies over them, per policy", nPolicies), per(policyState, nPolicies), per(policyObjects, nPolicies), "the policy itself")
	r.against("all", size(podState+policyState), size(podObjects+policyObjects), "the objects")
	r.figure("flows that this makes on the node", count(n))
	r.figure("per flow", per(podState+policyState, n))
	runtime.KeepAlive(c)
	return nil
}

// heap returns how many bytes of the heap are in use, after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
