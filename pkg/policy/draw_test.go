package policy

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

func drawLabels(t *rapid.T) map[string]string {
	return rapid.MapOfN(rapid.SampledFrom([]string{"x", "y"}), rapid.SampledFrom([]string{"1", "2"}), 0, 2).Draw(t, "labels")
}

func drawPod(t *rapid.T, k cluster.Key) *cluster.Pod {
	p := &cluster.Pod{
		Key:         k,
		UID:         rapid.SampledFrom([]string{"", "u1", "u2"}).Draw(t, "uid"),
		Node:        rapid.SampledFrom([]string{"n1", "n1", "n2", ""}).Draw(t, "node"),
		Labels:      drawLabels(t),
		HostNetwork: rapid.IntRange(0, 9).Draw(t, "hostNetwork") == 0,
		Finished:    rapid.IntRange(0, 9).Draw(t, "finished") == 0,
	}
	if n := rapid.IntRange(0, 6).Draw(t, "addrs"); n > 0 {
		p.IPs = podAddrs(n)[:rapid.IntRange(1, 2).Draw(t, "families")]
	}
	p.Ports = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) cluster.NamedPort {
		return cluster.NamedPort{
			Name:     rapid.SampledFrom([]string{"http", "dns"}).Draw(t, "name"),
			Protocol: rapid.SampledFrom([]string{"TCP", "UDP"}).Draw(t, "protocol"),
			Port:     uint16(rapid.IntRange(1, 4).Draw(t, "number")),
		}
	}), 0, 3).Draw(t, "ports")
	return p
}

func drawPolicy(t *rapid.T, k cluster.Key) *networkingv1.NetworkPolicy {
	np := &networkingv1.NetworkPolicy{}
	np.Namespace, np.Name = k.Namespace, k.Name
	np.Spec.PodSelector = *drawSelector(t)
	np.Spec.PolicyTypes = rapid.SampledFrom([][]networkingv1.PolicyType{nil, {"Ingress"}, {"Egress"}, {"Ingress", "Egress"}}).Draw(t, "types")
	for range rapid.IntRange(0, 2).Draw(t, "ingress") {
		np.Spec.Ingress = append(np.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: drawPeers(t), Ports: drawPorts(t)})
	}
	for range rapid.IntRange(0, 2).Draw(t, "egress") {
		np.Spec.Egress = append(np.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: drawPeers(t), Ports: drawPorts(t)})
	}
	return np
}

func drawSelector(t *rapid.T) *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	switch rapid.IntRange(0, 4).Draw(t, "selector") {
	case 0:
	case 1, 2:
		s.MatchLabels = drawLabels(t)
	default:
		e := metav1.LabelSelectorRequirement{
			Key:      rapid.SampledFrom([]string{"x", "y", corev1.LabelMetadataName}).Draw(t, "key"),
			Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist"}).Draw(t, "operator"),
		}
		if e.Operator == "In" || e.Operator == "NotIn" {
			e.Values = rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2", "a"}), 1, 2).Draw(t, "values")
		}
		s.MatchExpressions = []metav1.LabelSelectorRequirement{e}
	}
	return s
}

func drawPeers(t *rapid.T) []networkingv1.NetworkPolicyPeer {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) networkingv1.NetworkPolicyPeer {
		var p networkingv1.NetworkPolicyPeer
		switch rapid.IntRange(0, 3).Draw(t, "peer") {
		case 0:
			p.PodSelector = drawSelector(t)
		case 1:
			p.NamespaceSelector = drawSelector(t)
		case 2:
			p.PodSelector, p.NamespaceSelector = drawSelector(t), drawSelector(t)
		default:
			p.IPBlock = rapid.SampledFrom([]*networkingv1.IPBlock{
				{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/29"}},
				{CIDR: "10.0.0.0/30", Except: []string{"10.0.0.2/32", "10.0.0.3/32"}},
				{CIDR: "fd00::/16"},
				{CIDR: "::/0", Except: []string{"2001:db8::/32", "fd00::2/127"}},
				{CIDR: "203.0.113.0/24", Except: []string{"10.0.0.0/8"}}, // not within
			}).Draw(t, "block")
		}
		return p
	}), 0, 2).Draw(t, "peers")
}

func drawPorts(t *rapid.T) []networkingv1.NetworkPolicyPort {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) networkingv1.NetworkPolicyPort {
		var p networkingv1.NetworkPolicyPort
		if proto := rapid.SampledFrom([]corev1.Protocol{"", "TCP", "UDP", "SCTP"}).Draw(t, "protocol"); proto != "" {
			p.Protocol = &proto
		}
		number := int32(rapid.IntRange(1, 4).Draw(t, "number"))
		switch rapid.IntRange(0, 5).Draw(t, "port") {
		case 0:
		case 1, 2:
			name := intstr.FromString(rapid.SampledFrom([]string{"http", "dns"}).Draw(t, "name"))
			p.Port = &name
		case 3:
			n := intstr.FromInt32(number)
			end := int32(rapid.IntRange(1, 4).Draw(t, "end"))
			p.Port, p.EndPort = &n, &end
		default:
			n := intstr.FromInt32(number)
			p.Port = &n
		}
		return p
	}), 0, 3).Draw(t, "ports")
}
