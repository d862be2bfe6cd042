package simulate

import (
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// defaultService is asked of a destination of which nothing better is known.
var defaultService = Service{Protocol: "tcp", Port: 80}

// servicesOf are the services of interest at a destination: the named ports of
// its pod, and the port numbers in the rules that may be about it. It only
// chooses what to ask; the verdicts are the bridge's.
func (c *Cluster) servicesOf(d end) []Service {
	var out []Service
	if pod := c.pods[d.pod]; pod != nil {
		for _, p := range pod.Ports {
			out = append(out, Service{strings.ToLower(p.Protocol), p.Port})
		}
	}
	for _, key := range sortedKeys(c.policies) {
		np := c.policies[key]
		if c.selects(&np.Spec.PodSelector, key.Namespace, d.pod) {
			for _, r := range np.Spec.Ingress {
				out = append(out, numbers(r.Ports)...)
			}
		}
		for _, r := range np.Spec.Egress {
			if len(r.To) == 0 || slices.ContainsFunc(r.To, func(p networkingv1.NetworkPolicyPeer) bool { return c.picks(p, key.Namespace, d) }) {
				out = append(out, numbers(r.Ports)...)
			}
		}
	}
	if len(out) == 0 {
		return []Service{defaultService}
	}
	slices.SortFunc(out, compareServices)
	return slices.Compact(out)
}

// numbers are the services that a rule names by number: of a range its ends.
func numbers(ports []networkingv1.NetworkPolicyPort) (out []Service) {
	for _, p := range ports {
		if p.Port == nil || p.Port.IntVal <= 0 || p.Port.IntVal > 65535 {
			continue
		}
		protocol := "tcp"
		if p.Protocol != nil {
			protocol = strings.ToLower(string(*p.Protocol))
		}
		if _, known := protocolRank(protocol); !known {
			continue
		}
		out = append(out, Service{protocol, uint16(p.Port.IntVal)})
		if p.EndPort != nil && *p.EndPort > p.Port.IntVal && *p.EndPort <= 65535 {
			out = append(out, Service{protocol, uint16(*p.EndPort)})
		}
	}
	return out
}

// picks reports whether a peer may mean a destination.
func (c *Cluster) picks(peer networkingv1.NetworkPolicyPeer, namespace string, d end) bool {
	if peer.IPBlock != nil {
		cidr, err := netip.ParsePrefix(peer.IPBlock.CIDR)
		return err == nil && slices.ContainsFunc(d.addrs, cidr.Contains)
	}
	if d.pod == (cluster.Key{}) {
		return false
	}
	if peer.NamespaceSelector == nil {
		return c.selects(peer.PodSelector, namespace, d.pod)
	}
	return matches(peer.NamespaceSelector, c.namespaces[d.pod.Namespace]) &&
		(peer.PodSelector == nil || c.selects(peer.PodSelector, d.pod.Namespace, d.pod))
}

// selects reports whether a selector of pods in a namespace picks a pod.
func (c *Cluster) selects(s *metav1.LabelSelector, namespace string, key cluster.Key) bool {
	pod := c.pods[key]
	return pod != nil && key.Namespace == namespace && matches(s, pod.Labels)
}

func matches(s *metav1.LabelSelector, of map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(of))
}
