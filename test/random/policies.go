package random

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// newPolicy draws all of a policy but its name.
func (w *Cluster) newPolicy(c Choices, size Size) *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.someNamespace(c)},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: *newSelector(c, podAlphabet)},
	}
	in, out := networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress
	p.Spec.PolicyTypes = pick(c, nil, []networkingv1.PolicyType{in}, []networkingv1.PolicyType{out}, []networkingv1.PolicyType{in, out})
	for _, r := range list(c, 0, size.Rules, func(c Choices) rule { return w.newRule(c, size) }) {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: r.peers, Ports: r.ports})
	}
	// Egress rules may be there against the types: they must then count for nothing.
	for _, r := range list(c, 0, size.Rules, func(c Choices) rule { return w.newRule(c, size) }) {
		p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: r.peers, Ports: r.ports})
	}
	return p
}

func (w *Cluster) addPolicy(p *networkingv1.NetworkPolicy) {
	p.Name = fmt.Sprintf("policy%d", w.policies)
	p.UID = types.UID(fmt.Sprintf("00000000-0000-4000-9000-%012d", w.policies))
	w.policies++
	w.Policies = append(w.Policies, p)
}

// newSelector draws a selector: everything, labels, expressions or a mixture.
func newSelector(c Choices, alphabet map[string][]string) *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	keys := keysOf(alphabet)
	terms := pick(c, 0, 1, 1, 1, 1, 2)
	for range terms {
		key := pick(c, keys...)
		e := metav1.LabelSelectorRequirement{Key: key}
		switch c.Intn(8) {
		case 0, 1, 2:
			s.MatchLabels = map[string]string{key: pick(c, alphabet[key]...)}
			continue
		case 3, 4:
			e.Operator, e.Values = metav1.LabelSelectorOpIn, someValues(c, alphabet[key])
		case 5:
			e.Operator, e.Values = metav1.LabelSelectorOpNotIn, someValues(c, alphabet[key])
		case 6:
			e.Operator = metav1.LabelSelectorOpExists
		case 7:
			e.Operator = metav1.LabelSelectorOpDoesNotExist
		}
		s.MatchExpressions = append(s.MatchExpressions, e)
	}
	return s
}

func someValues(c Choices, values []string) []string {
	first := c.Intn(len(values))
	some := []string{values[first]}
	if chance(c, 8) {
		some = append(some, values[(first+1)%len(values)])
	}
	return some
}

// rule is an ingress or an egress rule.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func (w *Cluster) newRule(c Choices, size Size) rule {
	r := rule{
		peers: list(c, 0, size.Peers, w.newPeer),
		ports: list(c, 0, size.Ports, newPort),
	}
	if chance(c, 1) {
		spoil(c, &r)
	}
	return r
}

func newPort(c Choices) networkingv1.NetworkPolicyPort {
	var p networkingv1.NetworkPolicyPort
	if chance(c, 8) {
		p.Protocol = ptr.To(pick(c, protocols...))
	}
	switch c.Intn(16) {
	case 0, 1, 2, 3:
		p.Port = ptr.To(intstr.FromInt32(pick(c, portNumbers...)))
	case 4, 5, 6, 7, 8, 9:
		name := pick(c, portNames...)
		p.Port = ptr.To(intstr.FromString(name))
		switch { // mostly what pods mean by the name
		case name == "dns":
			p.Protocol = ptr.To(pick(c, corev1.ProtocolUDP, corev1.ProtocolUDP, corev1.ProtocolTCP))
		case chance(c, 8):
			p.Protocol = nil
		}
	case 10, 11, 12, 13, 14:
		// Ranges of all sorts: of one port, to the last port, over a power of two.
		first := pick[int32](c, 80, 53, 5000, 1, 8000, 1023)
		p.Port = ptr.To(intstr.FromInt32(first))
		p.EndPort = ptr.To(pick(c, first, first+1, first+300, first+4097, 65535))
	case 15: // every port of the protocol
	}
	return p
}

// spoil makes a rule invalid, each time in one of the ways a rule can be.
func spoil(c Choices, r *rule) {
	port := networkingv1.NetworkPolicyPort{Port: ptr.To(intstr.FromInt32(80))}
	peer := networkingv1.NetworkPolicyPeer{}
	switch c.Intn(9) {
	case 0:
		port.EndPort = ptr.To[int32](79)
	case 1:
		port.Protocol = ptr.To(corev1.Protocol("ICMP"))
	case 2:
		port.Port, port.EndPort = ptr.To(intstr.FromString("http")), ptr.To[int32](90)
	case 3:
		port.Port, port.EndPort = nil, ptr.To[int32](90)
	case 4:
		port.Port = ptr.To(intstr.FromInt32(pick[int32](c, 0, 65536)))
	case 5:
		peer.IPBlock = &networkingv1.IPBlock{CIDR: "203.0.113.0/24", Except: []string{"203.0.114.0/28"}}
	case 6:
		peer.IPBlock = &networkingv1.IPBlock{CIDR: "everywhere"}
	case 7:
		peer.PodSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Like", Values: []string{"web"}}}}
	case 8: // a peer that says nothing
	}
	if peer.IPBlock != nil || peer.PodSelector != nil || port.EndPort == nil && port.Protocol == nil && port.Port.IntVal == 80 {
		r.peers = append(r.peers, peer)
	} else {
		r.ports = append(r.ports, port)
	}
}
