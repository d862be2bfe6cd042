package oracle

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

func keyOf(p *corev1.Pod) Key { return Key{p.Namespace, p.Name} }

// live reports whether policies see a pod at all. A hostNetwork pod has the
// address of its node, a finished one has given its address back.
func live(p *corev1.Pod) bool {
	return !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

func (c *Cluster) pod(key Key) *corev1.Pod {
	for _, p := range c.Pods {
		if keyOf(p) == key {
			return p
		}
	}
	return nil
}

// podAt returns the live pod that has an address, of either family, or nil.
func (c *Cluster) podAt(addr netip.Addr) *corev1.Pod {
	for _, p := range c.Pods {
		if !live(p) {
			continue
		}
		for _, ip := range p.Status.PodIPs {
			if a, err := netip.ParseAddr(ip.IP); err == nil && a == addr {
				return p
			}
		}
	}
	return nil
}

func (c *Cluster) namespaceLabels(name string) map[string]string {
	for _, n := range c.Namespaces {
		if n.Name == name {
			return n.Labels
		}
	}
	return nil
}

// isNode reports whether an address is one of the named node's own.
func (c *Cluster) isNode(name string, addr netip.Addr) bool {
	for _, n := range c.Nodes {
		if n.Name != name {
			continue
		}
		for _, na := range n.Status.Addresses {
			if a, err := netip.ParseAddr(na.Address); err == nil && a == addr {
				return true
			}
		}
	}
	return false
}
