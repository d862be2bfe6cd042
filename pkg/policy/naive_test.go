package policy

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// compare asks the model and a naive reading of the state about every pair of
// a port's address and another address, in both directions.
func (s *state) compare(m *model) error {
	for _, p := range s.ports {
		for _, self := range p.Addrs {
			for _, other := range universeAddrs() {
				for _, d := range flows.Directions {
					for _, proto := range []uint8{1, flows.TCP, flows.UDP, flows.SCTP} {
						for port := range uint16(6) {
							got, want := m.side(d, self, other, proto, port), s.side(d, p, other, proto, port)
							if got != want {
								return fmt.Errorf("%s of %s with %s, protocol %d port %d: allowed=%v, want %v", d, self, other, proto, port, got, want)
							}
						}
					}
				}
			}
		}
	}
	return nil
}

// side says whether the pod behind a port may speak with an address.
func (s *state) side(d flows.Direction, p LocalPort, other netip.Addr, proto uint8, port uint16) bool {
	subject := s.podOf(p)
	if subject == nil {
		return false
	}
	isolated := false
	for _, np := range s.policies {
		if np.Namespace != subject.Namespace || !picks(&np.Spec.PodSelector, subject.Labels) {
			continue
		}
		types := np.Spec.PolicyTypes
		if types == nil {
			types = []networkingv1.PolicyType{"Ingress"}
			if len(np.Spec.Egress) > 0 {
				types = append(types, "Egress")
			}
		}
		if d == flows.Ingress && slices.Contains(types, "Ingress") {
			isolated = true
			for _, r := range np.Spec.Ingress {
				if s.allows(d, np.Namespace, subject, r.From, r.Ports, other, proto, port) {
					return true
				}
			}
		}
		if d == flows.Egress && slices.Contains(types, "Egress") {
			isolated = true
			for _, r := range np.Spec.Egress {
				if s.allows(d, np.Namespace, subject, r.To, r.Ports, other, proto, port) {
					return true
				}
			}
		}
	}
	return !isolated
}

// podOf returns the pod behind a port, if it's known.
func (s *state) podOf(p LocalPort) *cluster.Pod {
	pod := s.pods[p.Pod]
	if !s.synced || pod == nil || pod.HostNetwork || pod.Finished {
		return nil
	}
	if pod.UID != "" && p.UID != "" {
		if pod.UID != p.UID {
			return nil
		}
	} else if pod.Node != "" && pod.Node != "n1" {
		return nil
	}
	return pod
}

// podsAt returns the pods that an address may be of.
func (s *state) podsAt(a netip.Addr) []*cluster.Pod {
	var local, all []*cluster.Pod
	for _, pod := range s.pods {
		if pod.HostNetwork || pod.Finished || len(pod.IPs) == 0 {
			continue
		}
		here := false
		for _, p := range s.ports {
			if p.Pod == pod.Key && s.podOf(p) != nil {
				here = true
				if slices.Contains(p.Addrs, a) {
					local = append(local, pod)
				}
			}
		}
		if !here && slices.Contains(pod.IPs, a) {
			all = append(all, pod)
		}
	}
	if len(local) > 0 {
		return local
	}
	return all
}

func (s *state) allows(d flows.Direction, ns string, subject *cluster.Pod, peers []networkingv1.NetworkPolicyPeer,
	ports []networkingv1.NetworkPolicyPort, other netip.Addr, proto uint8, port uint16) bool {
	for _, p := range ports {
		if p.EndPort != nil && (p.Port == nil || p.Port.Type != intstr.Int || *p.EndPort < p.Port.IntVal) {
			return false
		}
	}
	for _, p := range peers {
		if p.IPBlock != nil && p.IPBlock.CIDR == "203.0.113.0/24" { // drawn with a bad except
			return false
		}
	}
	// With two pods at an address both must be allowed in by the same peer.
	var selected []*cluster.Pod
	match := func(named []*cluster.Pod) bool {
		return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
			return naivePort(p, named, proto, port)
		})
	}
	at := s.podsAt(other)
	if len(peers) == 0 {
		selected = at
		if d == flows.Ingress {
			selected = []*cluster.Pod{subject}
		}
		return match(selected)
	}
	for _, p := range peers {
		if p.IPBlock != nil {
			named := []*cluster.Pod(nil)
			if d == flows.Ingress {
				named = []*cluster.Pod{subject}
			}
			if naiveBlock(p.IPBlock, other) && match(named) {
				return true
			}
			continue
		}
		if len(at) == 0 || slices.ContainsFunc(at, func(pod *cluster.Pod) bool { return !s.picksPeer(ns, p, pod) }) {
			continue
		}
		named := at
		if d == flows.Ingress {
			named = []*cluster.Pod{subject}
		}
		if match(named) {
			return true
		}
	}
	return false
}

func (s *state) picksPeer(ns string, p networkingv1.NetworkPolicyPeer, pod *cluster.Pod) bool {
	if p.PodSelector != nil && !picks(p.PodSelector, pod.Labels) {
		return false
	}
	if p.NamespaceSelector == nil {
		return pod.Namespace == ns
	}
	l := map[string]string{corev1.LabelMetadataName: pod.Namespace}
	if known := s.namespaces[pod.Namespace]; known != nil {
		for k, v := range known.Labels {
			l[k] = v
		}
	} else if _, other := p.NamespaceSelector.MatchLabels["x"]; other {
		return false
	} else if _, other := p.NamespaceSelector.MatchLabels["y"]; other {
		return false
	} else if e := p.NamespaceSelector.MatchExpressions; len(e) > 0 && e[0].Key != corev1.LabelMetadataName {
		return false
	}
	return picks(p.NamespaceSelector, l)
}

func picks(sel *metav1.LabelSelector, l map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(sel)
	return err == nil && s.Matches(labels.Set(l))
}

func naiveBlock(b *networkingv1.IPBlock, a netip.Addr) bool {
	return netip.MustParsePrefix(b.CIDR).Contains(a) && !slices.ContainsFunc(b.Except, func(e string) bool {
		return netip.MustParsePrefix(e).Contains(a)
	})
}

// naivePort reports whether a port item matches; a name must mean the port on
// every pod given, of which there must be some.
func naivePort(p networkingv1.NetworkPolicyPort, named []*cluster.Pod, proto uint8, port uint16) bool {
	protocol := "TCP"
	if p.Protocol != nil {
		protocol = string(*p.Protocol)
	}
	if map[string]uint8{"TCP": 6, "UDP": 17, "SCTP": 132}[protocol] != proto {
		return false
	}
	switch {
	case p.Port == nil:
		return true
	case p.Port.Type == intstr.Int:
		end := p.Port.IntVal
		if p.EndPort != nil {
			end = *p.EndPort
		}
		return p.Port.IntVal <= int32(port) && int32(port) <= end
	}
	for _, pod := range named {
		i := slices.IndexFunc(pod.Ports, func(n cluster.NamedPort) bool { return n.Name == p.Port.StrVal && n.Protocol == protocol })
		if i < 0 || pod.Ports[i].Port != port {
			return false
		}
	}
	return len(named) > 0
}
