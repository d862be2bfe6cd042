package random

import (
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (w *Cluster) newPeer(c Choices) networkingv1.NetworkPolicyPeer {
	var p networkingv1.NetworkPolicyPeer
	switch c.Intn(16) {
	case 0, 1, 2:
		p.PodSelector = newSelector(c, podAlphabet)
	case 3, 4:
		p.NamespaceSelector = w.newNamespaceSelector(c)
	case 5, 6, 7:
		p.PodSelector, p.NamespaceSelector = newSelector(c, podAlphabet), w.newNamespaceSelector(c)
	default:
		p.IPBlock = w.newBlock(c)
	}
	return p
}

func (w *Cluster) newNamespaceSelector(c Choices) *metav1.LabelSelector {
	if chance(c, 3) {
		n := w.Namespaces[c.Intn(len(w.Namespaces))].Name
		return &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": n}}
	}
	return newSelector(c, namespaceAlphabet)
}

// newBlock draws a block around an address of interest, and excepts around
// others that lie in it, or around the same one: they nest and overlap.
func (w *Cluster) newBlock(c Choices) *networkingv1.IPBlock {
	family := pick(c, 4, 4, 6)
	cidr := around(c, w.interesting(c, family), 0)
	b := &networkingv1.IPBlock{CIDR: cidr.String()}
	for _, e := range list(c, 0, 3, func(c Choices) string {
		for range 8 {
			if a := w.interesting(c, family); cidr.Contains(a) && cidr.Bits() < a.BitLen() {
				return around(c, a, cidr.Bits()+1).String()
			}
		}
		return ""
	}) {
		if e != "" {
			b.Except = append(b.Except, e)
		}
	}
	return b
}

// interesting returns an address that probes may have, or one beside it.
func (w *Cluster) interesting(c Choices, family int) netip.Addr {
	i := family / 2 % 2 // 4: index 0, 6: index 1
	node := c.Intn(len(w.Nodes))
	if chance(c, 7) {
		return pick(c, outside[family]...)
	}
	if chance(c, 2) {
		return nodeAddrs(node)[i]
	}
	if chance(c, 8) {
		node = 0
	}
	return podAddrs(node, c.Intn(16))[i]
}

// around returns a prefix with an address, of one of the lengths that cut
// through the cluster's addresses, and no shorter than least.
func around(c Choices, a netip.Addr, least int) netip.Prefix {
	lengths := []int{0, 8, 14, 16, 23, 24, 26, 28, 29, 30, 31, 32}
	if a.Is6() {
		lengths = []int{0, 16, 32, 48, 63, 64, 122, 124, 125, 126, 127, 128}
	}
	for lengths[0] < least {
		lengths = lengths[1:]
	}
	p, err := a.Prefix(pick(c, lengths...))
	if err != nil {
		panic(err) // the lengths fit their family
	}
	return p
}
