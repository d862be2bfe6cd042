package cluster

import (
	"errors"
	"fmt"
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// maxReplicas bounds the pods that one line of a manifest can ask for.
const maxReplicas = 1000

// workload stands for pods that a controller would make: where manifests are all
// there is, nobody else does.
type workload struct {
	replicas int
	selector labels.Selector
	template *Pod
	// ordinal labels the pods as the StatefulSet controller does.
	ordinal bool
}

// newWorkload reads a workload, nil if some other object is in charge of it: a
// Deployment's ReplicaSet adds no pods to those of the Deployment.
//
// A DaemonSet counts as one pod, as a folder describes one node's worth of pods.
func newWorkload(value runtime.Object) (*workload, error) {
	w := &workload{replicas: 1}
	var meta *metav1.ObjectMeta
	var replicas *int32
	var selector *metav1.LabelSelector
	var template *corev1.PodTemplateSpec
	switch in := value.(type) {
	case *appsv1.Deployment:
		meta, replicas, selector, template = &in.ObjectMeta, in.Spec.Replicas, in.Spec.Selector, &in.Spec.Template
	case *appsv1.StatefulSet:
		meta, replicas, selector, template = &in.ObjectMeta, in.Spec.Replicas, in.Spec.Selector, &in.Spec.Template
		w.ordinal = true
	case *appsv1.ReplicaSet:
		meta, replicas, selector, template = &in.ObjectMeta, in.Spec.Replicas, in.Spec.Selector, &in.Spec.Template
	case *appsv1.DaemonSet:
		meta, selector, template = &in.ObjectMeta, in.Spec.Selector, &in.Spec.Template
	}
	if metav1.GetControllerOf(meta) != nil {
		return nil, nil
	}
	if replicas != nil {
		w.replicas = int(*replicas)
	}
	if w.replicas < 0 || w.replicas > maxReplicas {
		return nil, fmt.Errorf("spec.replicas: %d is not between 0 and %d", w.replicas, maxReplicas)
	}
	if selector == nil {
		return nil, errors.New("spec.selector: required")
	}
	var err error
	if w.selector, err = metav1.LabelSelectorAsSelector(selector); err != nil {
		return nil, fmt.Errorf("spec.selector: %w", err)
	}
	if w.selector.Empty() {
		return nil, errors.New("spec.selector: must not be empty")
	}
	if !w.selector.Matches(labels.Set(template.Labels)) {
		return nil, errors.New("spec.template.metadata.labels: not selected by spec.selector")
	}
	w.template, err = TrimPod(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: meta.Namespace, Name: meta.Name, Labels: template.Labels},
		Spec:       template.Spec,
	})
	if err != nil {
		return nil, fmt.Errorf("spec.template: %w", err)
	}
	return w, nil
}

// selects reports whether the workload counts a pod as its own.
func (w *workload) selects(pod *Pod) bool {
	return pod.Namespace == w.template.Namespace && w.selector.Matches(labels.Set(pod.Labels))
}

// pods makes one pod for each replica, named by the workload and an ordinal.
func (w *workload) pods() []*Pod {
	pods := make([]*Pod, 0, w.replicas)
	for i := range w.replicas {
		pod := *w.template
		ordinal := strconv.Itoa(i)
		pod.Name += "-" + ordinal
		if w.ordinal {
			pod.Labels = maps.Clone(pod.Labels)
			pod.Labels[appsv1.StatefulSetPodNameLabel] = pod.Name
			pod.Labels[appsv1.PodIndexLabel] = ordinal
		}
		pods = append(pods, &pod)
	}
	return pods
}
