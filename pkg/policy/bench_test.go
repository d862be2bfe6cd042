package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// standing returns a compiler with 10,000 pods in 100 namespaces, of which 100
// are on this node, and 1,000 policies, of which each selects pods of one
// application in its namespace and lets another one and all of a team in.
func standing(b *testing.B) *world {
	w := newWorld(b)
	for n := range 100 {
		w.namespace(fmt.Sprintf("ns%d", n), fmt.Sprintf("team=t%d", n%10))
		for i := range 100 {
			p := benchPod(n, i)
			if i > 0 {
				p.Node = "n2"
				w.put(p)
			} else {
				w.attach(p)
			}
		}
		for i := range 10 {
			w.policy(fmt.Sprintf("ns%d/p%d", n, i), benchPolicy(i))
		}
	}
	w.Update(cluster.Event{Synced: true})
	w.flush()
	b.ReportAllocs()
	return w
}

func benchPod(ns, i int) *cluster.Pod {
	p := pod(fmt.Sprintf("ns%d/pod%d", ns, i), 0, fmt.Sprintf("app=a%d,tier=t%d,hash=h%d", i%10, i%3, i), "http=8080")
	p.IPs = []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(ns), byte(i)})}
	return p
}

// benchPolicy selects all of the pods on this node for every other i.
func benchPolicy(i int) string {
	subject := "{}"
	if i%2 == 1 {
		subject = fmt.Sprintf("{matchLabels: {app: a%d}}", i)
	}
	return fmt.Sprintf(`{podSelector: %s, ingress: [{from: [{podSelector: {matchLabels: {app: a%d}}},
		{podSelector: {matchLabels: {app: a%d}}, namespaceSelector: {matchLabels: {team: t%d}}}], ports: [{port: %d}, {port: http}]}]}`,
		subject, (i+1)%10, (i+2)%10, i, 1000+i)
}

func BenchmarkListing(b *testing.B) {
	for b.Loop() {
		standing(b)
	}
}

func BenchmarkRemotePodComesAndGoes(b *testing.B) {
	w := standing(b)
	p := benchPod(7, 200)
	p.Node = "n2"
	for b.Loop() {
		w.Update(cluster.Event{Pod: p})
		w.Compiler.Flush()
		w.Update(cluster.Event{Deleted: true, Pod: p})
		w.Compiler.Flush()
	}
}

func BenchmarkLocalPodComesAndGoes(b *testing.B) {
	w := standing(b)
	p := benchPod(7, 200)
	port := w.portOf(p)
	for b.Loop() {
		w.SetPort(port)
		w.Update(cluster.Event{Pod: p})
		w.Compiler.Flush()
		w.DeletePort(port.Name)
		w.Update(cluster.Event{Deleted: true, Pod: p})
		w.Compiler.Flush()
	}
}

func BenchmarkPolicyComesAndGoes(b *testing.B) {
	w := standing(b)
	for name, spec := range map[string]string{
		"one namespace": benchPolicy(2),
		"one team":      `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: t1}}}]}]}`,
		"every pod":     `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`,
		"one app of all": `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]},
			podSelector: {matchLabels: {app: a3, tier: t1}}}]}]}`,
	} {
		np := policyOf(b, "ns7/new", spec)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.Update(cluster.Event{Policy: np})
				w.Compiler.Flush()
				w.Update(cluster.Event{Deleted: true, Policy: np})
				w.Compiler.Flush()
			}
		})
	}
}

func BenchmarkNamespaceRelabelled(b *testing.B) {
	w := standing(b)
	for b.Loop() {
		w.namespace("ns7", "team=t8")
		w.Compiler.Flush()
		w.namespace("ns7", "team=t7")
		w.Compiler.Flush()
	}
}
