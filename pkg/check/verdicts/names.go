package verdicts

import (
	"maps"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Name is a name that the cluster's objects bear, with what it names: "pod",
// "namespace", "policy", "service", "node" or "label".
type Name struct{ Kind, Name string }

// Names lists all names and labels of the objects that are stored, in a fixed
// order.
func (s *Store) Names() []Name {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[Name]bool{}
	labels := func(of map[string]string) {
		for k, v := range of {
			seen[Name{"label", k}], seen[Name{"label", v}] = true, true
		}
	}
	for n, ns := range s.namespaces {
		seen[Name{"namespace", n}] = true
		labels(ns.Labels)
	}
	for key, p := range s.pods {
		seen[Name{"namespace", key.Namespace}], seen[Name{"pod", key.Name}], seen[Name{"node", p.Node}] = true, true, true
		labels(p.Labels)
	}
	selector := func(l *metav1.LabelSelector) {
		if l == nil {
			return
		}
		labels(l.MatchLabels)
		for _, e := range l.MatchExpressions {
			seen[Name{"label", e.Key}] = true
			for _, v := range e.Values {
				seen[Name{"label", v}] = true
			}
		}
	}
	peers := func(all []networkingv1.NetworkPolicyPeer) {
		for _, p := range all {
			selector(p.PodSelector)
			selector(p.NamespaceSelector)
		}
	}
	for key, p := range s.policies {
		seen[Name{"namespace", key.Namespace}], seen[Name{"policy", key.Name}] = true, true
		selector(&p.Spec.PodSelector)
		for _, r := range p.Spec.Ingress {
			peers(r.From)
		}
		for _, r := range p.Spec.Egress {
			peers(r.To)
		}
	}
	for key := range s.frontends {
		seen[Name{"namespace", key.Namespace}], seen[Name{"service", key.Name}] = true, true
	}
	kinds := []string{"namespace", "pod", "policy", "service", "node", "label"}
	return slices.SortedFunc(maps.Keys(seen), func(a, b Name) int {
		if a.Kind != b.Kind {
			return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind)
		}
		return compareKeys(cluster.Key{Name: a.Name}, cluster.Key{Name: b.Name})
	})
}

// Addrs lists the addresses of pods and Services that are stored.
func (s *Store) Addrs() []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []netip.Addr
	for _, p := range s.pods {
		out = append(out, p.IPs...)
	}
	for _, as := range s.frontends {
		out = append(out, as...)
	}
	return out
}
