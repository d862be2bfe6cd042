package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// CreateNamespace creates a namespace with the given labels.
func (s *APIServer) CreateNamespace(ctx context.Context, name string, labels map[string]string) error {
	_, err := s.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}

// CreateNode creates a ready node with the given pod ranges, at most one of each
// family, and internal addresses.
func (s *APIServer) CreateNode(ctx context.Context, name string, podCIDRs []netip.Prefix, addrs ...netip.Addr) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	for _, cidr := range podCIDRs {
		node.Spec.PodCIDRs = append(node.Spec.PodCIDRs, cidr.String())
	}
	if len(podCIDRs) > 0 {
		node.Spec.PodCIDR = node.Spec.PodCIDRs[0]
	}
	nodes := s.client.CoreV1().Nodes()
	node, err := nodes.Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create node %s: %w", name, err)
	}
	for _, addr := range addrs {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: addr.String()})
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if _, err := nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write the status of node %s: %w", name, err)
	}
	return nil
}

// CreatePod creates a pod, bound to a node if its spec.nodeName says so. A pod
// without containers gets one; if the pod has containers without an image, they
// get that of the pause container. The status the argument has is not written:
// see SetPodStatus.
func (s *APIServer) CreatePod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	pod = pod.DeepCopy()
	if len(pod.Spec.Containers) == 0 {
		pod.Spec.Containers = []corev1.Container{{Name: "pause"}}
	}
	for i := range pod.Spec.Containers {
		if c := &pod.Spec.Containers[i]; c.Image == "" {
			c.Image = "registry.k8s.io/pause:3.10.1"
		}
	}
	created, err := s.client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return created, nil
}

// SetPodStatus writes a pod's phase and addresses, at most one of each family, as
// the kubelet does. Addresses that are not given are taken away.
func (s *APIServer) SetPodStatus(ctx context.Context, namespace, name string, phase corev1.PodPhase, addrs ...netip.Addr) error {
	ips := make([]corev1.PodIP, len(addrs))
	status := map[string]any{"phase": phase, "podIP": nil, "podIPs": nil}
	for i, addr := range addrs {
		ips[i].IP = addr.String()
	}
	if len(ips) > 0 {
		status["podIP"], status["podIPs"] = ips[0].IP, ips
	}
	// A merge patch: with a strategic one, lists are merged and not replaced.
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return fmt.Errorf("write the status of pod %s/%s: %w", namespace, name, err)
	}
	_, err = s.client.CoreV1().Pods(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("write the status of pod %s/%s: %w", namespace, name, err)
	}
	return nil
}

// DeletePod deletes a pod at once: there is no kubelet to end it gracefully.
func (s *APIServer) DeletePod(ctx context.Context, namespace, name string) error {
	err := s.client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)})
	if err != nil {
		return fmt.Errorf("delete pod %s/%s: %w", namespace, name, err)
	}
	return nil
}
