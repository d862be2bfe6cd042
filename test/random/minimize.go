package random

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Minimize returns a smaller cluster for which fails is still true, by taking
// away whatever it can: policies, pods, rules, peers, ports, excepts, labels. It
// is for cases that come from a plain seed; rapid shrinks its own. It calls
// fails some hundred times, and never with the cluster it was given.
func Minimize(w *Cluster, fails func(*Cluster) bool) *Cluster {
	for {
		smaller := false
		for i := 0; ; {
			n := w.clone()
			if !cut(n, i) {
				break
			}
			if fails(n) {
				w, smaller = n, true // what follows has moved up to i
			} else {
				i++
			}
		}
		if !smaller {
			return w
		}
	}
}

// cut removes the i-th removable thing from a cluster, large things first, and
// reports whether there was one.
func cut(w *Cluster, i int) bool {
	k := &cutter{at: i}
	cutFrom(k, &w.Policies)
	cutFrom(k, &w.Pods)
	for _, p := range w.Policies {
		cutFrom(k, &p.Spec.Ingress)
		cutFrom(k, &p.Spec.Egress)
	}
	for _, p := range w.Policies {
		for j := range p.Spec.Ingress {
			k.rule(&p.Spec.Ingress[j].From, &p.Spec.Ingress[j].Ports)
		}
		for j := range p.Spec.Egress {
			k.rule(&p.Spec.Egress[j].To, &p.Spec.Egress[j].Ports)
		}
		cutKeys(k, p.Spec.PodSelector.MatchLabels)
		cutFrom(k, &p.Spec.PodSelector.MatchExpressions)
	}
	for _, p := range w.Pods {
		cutKeys(k, p.Labels)
		cutFrom(k, &p.Spec.InitContainers)
		for j := range p.Spec.Containers {
			cutFrom(k, &p.Spec.Containers[j].Ports)
		}
	}
	// Nodes stay: addresses of the others follow from their number. So do the
	// names in the labels of namespaces: the API server sets them.
	for _, n := range w.Namespaces {
		cutKeys(k, n.Labels)
	}
	return k.done
}

// cutter counts removable things down to the one to remove.
type cutter struct {
	at   int
	done bool
}

func (k *cutter) rule(peers *[]networkingv1.NetworkPolicyPeer, ports *[]networkingv1.NetworkPolicyPort) {
	// The last peer stays: without peers a rule means all of them, which is a
	// larger case and not a smaller one. The same goes for ports.
	if len(*peers) > 1 {
		cutFrom(k, peers)
	}
	if len(*ports) > 1 {
		cutFrom(k, ports)
	}
	for i := range *peers {
		if b := (*peers)[i].IPBlock; b != nil {
			cutFrom(k, &b.Except)
		}
	}
}

func cutFrom[T any](k *cutter, from *[]T) {
	if n := len(*from); k.done || k.at >= n {
		k.at -= n
		return
	}
	*from = slices.Delete(*from, k.at, k.at+1)
	k.done = true
}

func cutKeys(k *cutter, from map[string]string) {
	keys := make([]string, 0, len(from))
	for key := range from {
		if key != corev1.LabelMetadataName {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if n := len(keys); k.done || k.at >= n {
		k.at -= n
		return
	}
	delete(from, keys[k.at])
	k.done = true
}
