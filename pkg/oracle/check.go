package oracle

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// check returns why a rule can't be used, or nil. One bad field spoils its whole
// rule and nothing beyond it.
func check(r rule) error {
	for i, p := range r.ports {
		if err := checkPort(p); err != nil {
			return fmt.Errorf("ports[%d].%w", i, err)
		}
	}
	for i, p := range r.peers {
		if err := checkPeer(p); err != nil {
			return fmt.Errorf("peers[%d].%w", i, err)
		}
	}
	return nil
}

func checkPort(p networkingv1.NetworkPolicyPort) error {
	switch protocolOf(p) {
	case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
	default:
		return fmt.Errorf("protocol: unknown protocol %q", *p.Protocol)
	}
	number := p.Port != nil && p.Port.Type == intstr.Int
	if number && (p.Port.IntVal < 1 || p.Port.IntVal > 65535) {
		return fmt.Errorf("port: %d is no port", p.Port.IntVal)
	}
	if p.EndPort == nil {
		return nil
	}
	if !number {
		return fmt.Errorf("endPort: needs a port that is a number")
	}
	if *p.EndPort < p.Port.IntVal || *p.EndPort > 65535 {
		return fmt.Errorf("endPort: %d is not in %d-65535", *p.EndPort, p.Port.IntVal)
	}
	return nil
}

func checkPeer(p networkingv1.NetworkPolicyPeer) error {
	selectors := p.PodSelector != nil || p.NamespaceSelector != nil
	if p.IPBlock == nil {
		if !selectors {
			return fmt.Errorf("podSelector: a peer must say what it is")
		}
		if !readable(p.PodSelector) {
			return fmt.Errorf("podSelector: not a selector")
		}
		if !readable(p.NamespaceSelector) {
			return fmt.Errorf("namespaceSelector: not a selector")
		}
		return nil
	}
	if selectors {
		return fmt.Errorf("ipBlock: excludes selectors")
	}
	cidr, err := netip.ParsePrefix(p.IPBlock.CIDR)
	if err != nil {
		return fmt.Errorf("ipBlock.cidr: %w", err)
	}
	for i, e := range p.IPBlock.Except {
		except, err := netip.ParsePrefix(e)
		if err != nil {
			return fmt.Errorf("ipBlock.except[%d]: %w", i, err)
		}
		if except.Bits() < cidr.Bits() || !cidr.Contains(except.Addr()) {
			return fmt.Errorf("ipBlock.except[%d]: %s is outside %s", i, except, cidr)
		}
	}
	return nil
}

func readable(s *metav1.LabelSelector) bool {
	_, err := metav1.LabelSelectorAsSelector(s)
	return err == nil
}
