package random

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Change is one object that an edit sets or removes. Exactly one of the object
// fields is set; they are copies, the caller's to keep.
type Change struct {
	Deleted   bool
	Pod       *corev1.Pod
	Namespace *corev1.Namespace
	Policy    *networkingv1.NetworkPolicy
}

// Edit is what happens to a cluster at one moment.
type Edit struct {
	// What says it in words.
	What    string
	Changes []Change
}

// String returns the edit in words.
func (e Edit) String() string { return e.What }

// GoString is String, for the log of a rapid test.
func (e Edit) GoString() string { return e.What }

// Edit draws an edit and returns the cluster after it. The receiver stays as it
// is.
func (w *Cluster) Edit(c Choices, size Size) (*Cluster, Edit) {
	n := w.clone()
	// The first is always possible; the others may find nothing to edit.
	edits := []func(Choices, Size) *Edit{
		n.podComes, n.policyComes, n.podRelabels, n.policyChanges, n.namespaceRelabels,
		n.policyGoes, n.podGoes, n.podGetsAddress, n.podFinishes, n.podIsReplaced, n.podHandsOnAddress,
	}
	e := edits[c.Intn(len(edits))](c, size)
	if e == nil {
		e = n.podComes(c, size)
	}
	for i := range e.Changes {
		e.Changes[i] = e.Changes[i].copy()
	}
	return n, *e
}

func (g Change) copy() Change {
	return Change{Deleted: g.Deleted, Pod: g.Pod.DeepCopy(), Namespace: g.Namespace.DeepCopy(), Policy: g.Policy.DeepCopy()}
}

func (w *Cluster) podComes(c Choices, _ Size) *Edit {
	w.addPod(c, w.newPod(c))
	p := w.Pods[len(w.Pods)-1]
	return podEdit(p, "comes")
}

func (w *Cluster) podGoes(c Choices, _ Size) *Edit {
	i := w.somePod(c, func(*corev1.Pod) bool { return true })
	if i < 0 {
		return nil
	}
	e := podEdit(w.Pods[i], "goes")
	e.Changes[0].Deleted = true
	w.Pods = slices.Delete(w.Pods, i, i+1)
	return e
}

func (w *Cluster) podRelabels(c Choices, _ Size) *Edit {
	i := w.somePod(c, func(*corev1.Pod) bool { return true })
	if i < 0 {
		return nil
	}
	w.Pods[i].Labels = someLabels(c, podAlphabet)
	return podEdit(w.Pods[i], fmt.Sprintf("is relabelled %v", w.Pods[i].Labels))
}

func (w *Cluster) podGetsAddress(c Choices, _ Size) *Edit {
	i := w.somePod(c, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodPending })
	if i < 0 {
		return nil
	}
	p := w.Pods[i]
	setAddrs(p, PortAddrs(p))
	p.Status.Phase = corev1.PodRunning
	return podEdit(p, "gets its address")
}

func (w *Cluster) podFinishes(c Choices, _ Size) *Edit {
	i := w.somePod(c, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if i < 0 {
		return nil
	}
	w.Pods[i].Status.Phase = pick(c, corev1.PodSucceeded, corev1.PodFailed)
	return podEdit(w.Pods[i], "finishes")
}

// podIsReplaced is what a StatefulSet does: the same name comes back as another
// pod.
func (w *Cluster) podIsReplaced(c Choices, _ Size) *Edit {
	i := w.somePod(c, func(*corev1.Pod) bool { return true })
	if i < 0 {
		return nil
	}
	old := w.Pods[i]
	w.Pods = slices.Delete(w.Pods, i, i+1)
	heir := w.newPod(c)
	heir.Namespace = old.Namespace
	w.addPod(c, heir)
	heir.Name = old.Name
	e := podEdit(heir, "is replaced by another of its name")
	e.Changes = append([]Change{{Deleted: true, Pod: old}}, e.Changes...)
	return e
}

// podHandsOnAddress ends a pod and gives its addresses to a new one, while the
// API still shows the old one.
func (w *Cluster) podHandsOnAddress(c Choices, _ Size) *Edit {
	i := w.somePod(c, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning && !p.Spec.HostNetwork })
	if i < 0 {
		return nil
	}
	old := w.Pods[i]
	old.Status.Phase = corev1.PodSucceeded
	heir := w.newPod(c)
	heir.Spec.HostNetwork = false
	heir.Spec.NodeName = old.Spec.NodeName
	w.addPod(c, heir)
	delete(heir.Annotations, addressesAnnotation)
	heir.Status.Phase = corev1.PodRunning
	setAddrs(heir, statusAddrs(old))
	e := podEdit(old, fmt.Sprintf("finishes and %s/%s gets its addresses", heir.Namespace, heir.Name))
	e.Changes = append(e.Changes, Change{Pod: heir})
	return e
}

func podEdit(p *corev1.Pod, what string) *Edit {
	what = fmt.Sprintf("pod %s/%s %s", p.Namespace, p.Name, what)
	return &Edit{What: what, Changes: []Change{{Pod: p}}}
}

// somePod returns the index of a pod, or -1 if there is none of that kind.
func (w *Cluster) somePod(c Choices, is func(*corev1.Pod) bool) int {
	var some []int
	for i, p := range w.Pods {
		if is(p) {
			some = append(some, i)
		}
	}
	if len(some) == 0 {
		return -1
	}
	return pick(c, some...)
}

func (w *Cluster) namespaceRelabels(c Choices, _ Size) *Edit {
	n := w.Namespaces[c.Intn(len(w.Namespaces))]
	n.Labels = namespaceLabels(c, n.Name)
	return &Edit{What: fmt.Sprintf("namespace %s is relabelled %v", n.Name, n.Labels), Changes: []Change{{Namespace: n}}}
}

func (w *Cluster) policyComes(c Choices, size Size) *Edit {
	w.addPolicy(w.newPolicy(c, size))
	return policyEdit(w.Policies[len(w.Policies)-1], "comes")
}

func (w *Cluster) policyGoes(c Choices, _ Size) *Edit {
	if len(w.Policies) == 0 {
		return nil
	}
	i := c.Intn(len(w.Policies))
	e := policyEdit(w.Policies[i], "goes")
	e.Changes[0].Deleted = true
	w.Policies = slices.Delete(w.Policies, i, i+1)
	return e
}

// policyChanges redraws one part of a policy and leaves the rest: most of what
// is installed for it then has to stay.
func (w *Cluster) policyChanges(c Choices, size Size) *Edit {
	if len(w.Policies) == 0 {
		return nil
	}
	p, other := w.Policies[c.Intn(len(w.Policies))], w.newPolicy(c, size)
	var parts []string
	if chance(c, 5) {
		p.Spec.PodSelector, parts = other.Spec.PodSelector, append(parts, "podSelector")
	}
	if chance(c, 5) {
		p.Spec.Ingress, parts = other.Spec.Ingress, append(parts, "ingress")
	}
	if chance(c, 5) {
		p.Spec.Egress, parts = other.Spec.Egress, append(parts, "egress")
	}
	if chance(c, 3) && len(p.Spec.Ingress) > 1 {
		// The rules that follow move up: their index changes, their meaning does not.
		p.Spec.Ingress, parts = p.Spec.Ingress[1:], append(parts, "ingress without its first rule")
	}
	if len(parts) == 0 {
		p.Spec.PolicyTypes, parts = other.Spec.PolicyTypes, append(parts, "policyTypes")
	}
	return policyEdit(p, "changes: "+strings.Join(parts, ", "))
}

func policyEdit(p *networkingv1.NetworkPolicy, what string) *Edit {
	return &Edit{What: fmt.Sprintf("policy %s/%s %s", p.Namespace, p.Name, what), Changes: []Change{{Policy: p}}}
}
