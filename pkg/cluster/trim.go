package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Annotations by which the kubelet marks the mirror of a static pod in the API
// (k8s.io/kubernetes/pkg/kubelet/types). The hash alone is not proof: anyone who
// may create pods can write it.
const (
	annotationConfigHash   = "kubernetes.io/config.hash"
	annotationConfigMirror = "kubernetes.io/config.mirror"
)

// TrimPod reduces a pod to what Sluice keeps of it. The pod returned is never
// nil: what could not be used (an address that does not parse, a port out of
// range) is left out of it and named by the error.
func TrimPod(in *corev1.Pod) (*Pod, error) {
	pod := &Pod{
		Key:         Key{Namespace: in.Namespace, Name: in.Name},
		UID:         kubeletUID(in),
		Node:        in.Spec.NodeName,
		Labels:      maps.Clone(in.Labels),
		HostNetwork: in.Spec.HostNetwork,
		Finished:    in.Status.Phase == corev1.PodSucceeded || in.Status.Phase == corev1.PodFailed,
	}
	var errs, more field.ErrorList
	pod.Ports, errs = namedPorts(&in.Spec)
	if !pod.Finished {
		pod.IPs, more = podIPs(&in.Status)
	}
	if errs = append(errs, more...); len(errs) > 0 {
		return pod, fmt.Errorf("Pod %s: %w", pod.Key, errs.ToAggregate())
	}
	return pod, nil
}

// kubeletUID is the uid the kubelet of the pod's node knows the pod by. A static
// pod has it before the API server has ever heard of the pod.
func kubeletUID(in *corev1.Pod) string {
	if mirror, ok := in.Annotations[annotationConfigMirror]; ok {
		if hash := in.Annotations[annotationConfigHash]; hash != "" {
			return hash
		}
		return mirror
	}
	return string(in.UID)
}

// podIPs reads all addresses of a pod; status.podIP counts only where the list,
// of which it is the first element, is missing.
func podIPs(in *corev1.PodStatus) (ips []netip.Addr, errs field.ErrorList) {
	path := field.NewPath("status")
	add := func(text string, path *field.Path) {
		ip, err := parseAddr(text)
		if err != nil {
			errs = append(errs, field.Invalid(path, text, err.Error()))
		} else if !slices.Contains(ips, ip) {
			ips = append(ips, ip)
		}
	}
	if len(in.PodIPs) == 0 && in.PodIP != "" {
		add(in.PodIP, path.Child("podIP"))
	}
	for i := range in.PodIPs {
		add(in.PodIPs[i].IP, path.Child("podIPs").Index(i).Child("ip"))
	}
	return ips, errs
}

// parseAddr reads an address as the API writes it. An IPv4 address mapped into
// IPv6 is the IPv4 address: that is what packets carry.
func parseAddr(text string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ip, fmt.Errorf("not an IP address")
	}
	if ip.Zone() != "" {
		return ip, fmt.Errorf("an address with a zone has no meaning beyond its link")
	}
	return ip.Unmap(), nil
}

// ParseCIDR reads a CIDR as the API writes it. Bits beyond its length are ignored, and
// a range of IPv4-mapped IPv6 addresses is the IPv4 range it stands for.
func ParseCIDR(text string) (netip.Prefix, error) {
	cidr, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if a := cidr.Addr(); a.Is4In6() && cidr.Bits() >= 96 {
		cidr = netip.PrefixFrom(a.Unmap(), cidr.Bits()-96)
	}
	return cidr.Masked(), nil
}

// protocols are those a container port may have.
var protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

// namedPorts lists the ports with a name, in the order in which Kubernetes looks
// a name up: containers first, then init containers that keep running.
func namedPorts(in *corev1.PodSpec) (ports []NamedPort, errs field.ErrorList) {
	read := func(c *corev1.Container, path *field.Path) {
		for i := range c.Ports {
			p := &c.Ports[i]
			if p.Name == "" {
				continue
			}
			path := path.Child("ports").Index(i)
			if p.ContainerPort < 1 || p.ContainerPort > 65535 {
				errs = append(errs, field.Invalid(path.Child("containerPort"), p.ContainerPort, "must be between 1 and 65535"))
				continue
			}
			protocol := cmp.Or(p.Protocol, corev1.ProtocolTCP)
			if !slices.Contains(protocols, protocol) {
				errs = append(errs, field.NotSupported(path.Child("protocol"), protocol, protocols))
				continue
			}
			same := func(have NamedPort) bool { return have.Name == p.Name && have.Protocol == string(protocol) }
			if slices.ContainsFunc(ports, same) {
				continue
			}
			ports = append(ports, NamedPort{Name: p.Name, Protocol: string(protocol), Port: uint16(p.ContainerPort)})
		}
	}
	for i := range in.Containers {
		read(&in.Containers[i], field.NewPath("spec", "containers").Index(i))
	}
	for i := range in.InitContainers {
		c := &in.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			read(c, field.NewPath("spec", "initContainers").Index(i))
		}
	}
	return ports, errs
}

// TrimNamespace reduces a namespace to its name and labels. The label
// kubernetes.io/metadata.name is always there, and always the name: the API
// server sets it too, and policies rely on it.
func TrimNamespace(in *corev1.Namespace) *Namespace {
	labels := make(map[string]string, len(in.Labels)+1)
	maps.Copy(labels, in.Labels)
	labels[corev1.LabelMetadataName] = in.Name
	return &Namespace{Name: in.Name, Labels: labels}
}

// taintLeaving is the taint of a node that the cluster's autoscaler removes, which
// kube-proxy's health check heeds (KEP-3836).
const taintLeaving = "ToBeDeletedByClusterAutoscaler"

// TrimNode reduces a node to its age, zone, pod ranges, addresses, and whether it
// stays. As with TrimPod the node is never nil, and the error names what was left out
// of it.
func TrimNode(in *corev1.Node) (*Node, error) {
	node := &Node{Name: in.Name, Zone: in.Labels[corev1.LabelTopologyZone]}
	node.Leaving = in.DeletionTimestamp != nil || slices.ContainsFunc(in.Spec.Taints, func(t corev1.Taint) bool { return t.Key == taintLeaving })
	if !in.CreationTimestamp.IsZero() {
		node.Created = in.CreationTimestamp.Unix()
	}
	var errs field.ErrorList
	add := func(text string, path *field.Path) {
		cidr, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, field.Invalid(path, text, "not a CIDR"))
		} else if cidr = cidr.Masked(); !slices.Contains(node.PodCIDRs, cidr) {
			node.PodCIDRs = append(node.PodCIDRs, cidr)
		}
	}
	if len(in.Spec.PodCIDRs) == 0 && in.Spec.PodCIDR != "" {
		add(in.Spec.PodCIDR, field.NewPath("spec", "podCIDR"))
	}
	for i, text := range in.Spec.PodCIDRs {
		add(text, field.NewPath("spec", "podCIDRs").Index(i))
	}
	for i := range in.Status.Addresses {
		a := &in.Status.Addresses[i]
		if a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
			continue
		}
		ip, err := parseAddr(a.Address)
		if err != nil {
			path := field.NewPath("status", "addresses").Index(i).Child("address")
			errs = append(errs, field.Invalid(path, a.Address, err.Error()))
			continue
		}
		if !slices.Contains(node.Addrs, ip) {
			node.Addrs = append(node.Addrs, ip)
		}
		if a.Type == corev1.NodeInternalIP && !slices.Contains(node.Internal, ip) {
			node.Internal = append(node.Internal, ip)
		}
	}
	if len(errs) > 0 {
		return node, fmt.Errorf("Node %s: %w", node.Name, errs.ToAggregate())
	}
	return node, nil
}

// TrimPolicy reduces a policy to its name, uid and spec, which it shares with
// the policy given.
func TrimPolicy(in *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: in.Namespace, Name: in.Name, UID: in.UID},
		Spec:       in.Spec,
	}
}
