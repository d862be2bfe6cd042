package random

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Diff returns the changes that lead from one cluster to another, removals
// first. From a nil cluster that is all there is. Nodes are not compared: they
// do not change.
func Diff(before, after *Cluster) []Change {
	if before == nil {
		before = &Cluster{}
	}
	var gone, set []Change
	add := func(g Change) {
		if g.Deleted {
			gone = append(gone, g.copy())
		} else {
			set = append(set, g.copy())
		}
	}
	diff(before.Namespaces, after.Namespaces, func(n *corev1.Namespace, deleted bool) { add(Change{Deleted: deleted, Namespace: n}) })
	diff(before.Pods, after.Pods, func(p *corev1.Pod, deleted bool) { add(Change{Deleted: deleted, Pod: p}) })
	diff(before.Policies, after.Policies, func(p *networkingv1.NetworkPolicy, deleted bool) { add(Change{Deleted: deleted, Policy: p}) })
	return append(gone, set...)
}

func diff[T metav1.Object](before, after []T, add func(o T, deleted bool)) {
	type key struct{ namespace, name string }
	was, is := map[key]T{}, map[key]bool{}
	for _, o := range before {
		was[key{o.GetNamespace(), o.GetName()}] = o
	}
	for _, o := range after {
		is[key{o.GetNamespace(), o.GetName()}] = true
		if old, ok := was[key{o.GetNamespace(), o.GetName()}]; !ok || !reflect.DeepEqual(old, o) {
			add(o, false)
		}
	}
	for _, o := range before {
		if !is[key{o.GetNamespace(), o.GetName()}] {
			add(o, true)
		}
	}
}
