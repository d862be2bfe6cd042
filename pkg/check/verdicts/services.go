package verdicts

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/oracle"
)

// service is what a connection asks for: a protocol, and a port unless it is
// oracle.ICMP.
type service struct {
	protocol corev1.Protocol
	port     uint16
}

func compareServices(a, b service) int {
	return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.port, b.port))
}

// span is a range of ports that a rule names; every is one of all ports.
type span struct {
	protocol    corev1.Protocol
	first, last uint16
}

var protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

// spansOf are the ranges of ports in the rules, of a direction, of the policies
// that may select a pod. This only chooses what to ask about: what cannot be read
// counts as selecting.
func (s *snapshot) spansOf(pod cluster.Key, dir networkingv1.PolicyType) (out []span) {
	object := s.pods[pod]
	if object == nil {
		return nil
	}
	for _, p := range s.policies[pod.Namespace] {
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err == nil && !selector.Matches(labels.Set(object.Labels)) {
			continue
		}
		if dir == networkingv1.PolicyTypeIngress {
			for _, r := range p.Spec.Ingress {
				out = append(out, spans(r.Ports)...)
			}
			continue
		}
		for _, r := range p.Spec.Egress {
			out = append(out, spans(r.Ports)...)
		}
	}
	return out
}

func spans(ports []networkingv1.NetworkPolicyPort) (out []span) {
	for _, p := range ports {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		if p.Port == nil || p.Port.IntVal <= 0 || p.Port.IntVal > 65535 || !slices.Contains(protocols, protocol) {
			continue // names are looked up on pods, and asked about there
		}
		r := span{protocol, uint16(p.Port.IntVal), uint16(p.Port.IntVal)}
		if p.EndPort != nil && *p.EndPort > p.Port.IntVal && *p.EndPort <= 65535 {
			r.last = uint16(*p.EndPort)
		}
		out = append(out, r)
	}
	return out
}

// unnamedPort is where one looks for a port that no rule names.
const unnamedPort = 40001

// servicesOf are the services to ask a destination for: the ends of the ranges
// that rules of either side name, the ports that its pod names, ICMP, and one
// port of each protocol that is none of these. In order.
func servicesOf(named []corev1.ContainerPort, sides ...[]span) []service {
	out := []service{{protocol: oracle.ICMP}}
	for _, p := range named {
		out = append(out, service{p.Protocol, uint16(p.ContainerPort)})
	}
	for _, side := range sides {
		for _, r := range side {
			out = append(out, service{r.protocol, r.first}, service{r.protocol, r.last})
		}
	}
	for _, protocol := range protocols {
		for port := uint16(unnamedPort); port < unnamedPort+1000; port++ {
			free := !slices.Contains(out, service{protocol, port})
			for _, side := range sides {
				free = free && !slices.ContainsFunc(side, func(r span) bool { return r.protocol == protocol && r.first <= port && port <= r.last })
			}
			if free {
				out = append(out, service{protocol, port})
				break
			}
		}
	}
	slices.SortFunc(out, compareServices)
	return slices.Compact(out)
}
