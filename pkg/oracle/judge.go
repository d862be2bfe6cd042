package oracle

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Judge returns the verdict on a connection.
func (c *Cluster) Judge(conn Conn) Verdict {
	v := Verdict{
		Egress:  c.side(networkingv1.PolicyTypeEgress, conn.Src, conn),
		Ingress: c.side(networkingv1.PolicyTypeIngress, conn.Dst, conn),
	}
	if v.Egress.Subject != (Key{}) && v.Egress.Subject == v.Ingress.Subject {
		v.Egress.Exempt, v.Ingress.Exempt = OwnAddress, OwnAddress
	} else if conn.FromOwnNode || c.isNode(v.Ingress.Node, conn.Src.Addr) {
		v.Ingress.Exempt = OwnNode
	}
	v.Allowed = v.Egress.Allowed() && v.Ingress.Allowed()
	return v
}

// side judges one direction of a connection, whose end in that direction is end.
func (c *Cluster) side(dir networkingv1.PolicyType, end Endpoint, conn Conn) Side {
	pod := c.podAt(end.Addr)
	if end.Pod != (Key{}) {
		named := c.pod(end.Pod)
		if named == nil {
			return Side{Subject: end.Pod, Unknown: true, Isolated: true}
		}
		if live(named) {
			pod = named
		}
	}
	if pod == nil {
		return Side{}
	}
	s := Side{Subject: keyOf(pod), Node: pod.Spec.NodeName}
	o := c.otherEnd(dir, pod, conn)
	for _, p := range c.Policies {
		if p.Namespace != pod.Namespace || !hasType(p, dir) || !isolates(p, pod) {
			continue
		}
		policy := Key{p.Namespace, p.Name}
		s.Isolated = true
		s.IsolatedBy = append(s.IsolatedBy, policy)
		for i, r := range rulesOf(p, dir) {
			if c.allows(p, r, o, conn) {
				s.AllowedBy = append(s.AllowedBy, RuleRef{policy, i})
			}
		}
	}
	return s
}

// other is the far end of a connection as the peers of a rule see it.
type other struct {
	addr netip.Addr
	pod  *corev1.Pod // the pod with that address, or nil
	// named is the pod on which port names are looked up, or nil: always the
	// connection's destination, so the subject itself for ingress.
	named *corev1.Pod
	// namedInBlock is the same if an ipBlock is the peer: an egress rule knows no
	// pods in a block, even where its addresses happen to be pods'.
	namedInBlock *corev1.Pod
}

func (c *Cluster) otherEnd(dir networkingv1.PolicyType, subject *corev1.Pod, conn Conn) other {
	if dir == networkingv1.PolicyTypeIngress {
		return other{addr: conn.Src.Addr, pod: c.podAt(conn.Src.Addr), named: subject, namedInBlock: subject}
	}
	pod := c.podAt(conn.Dst.Addr)
	return other{addr: conn.Dst.Addr, pod: pod, named: pod}
}

// hasType reports whether a policy speaks of a direction. Unset types mean
// ingress, and egress only if there are egress rules.
func hasType(p *networkingv1.NetworkPolicy, dir networkingv1.PolicyType) bool {
	if len(p.Spec.PolicyTypes) > 0 {
		return slices.Contains(p.Spec.PolicyTypes, dir)
	}
	return dir == networkingv1.PolicyTypeIngress || len(p.Spec.Egress) > 0
}

// isolates reports whether a policy of the pod's namespace selects the pod. A
// selector that can't be read may mean any pod, so it selects all of them.
func isolates(p *networkingv1.NetworkPolicy, pod *corev1.Pod) bool {
	s, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
	return err != nil || s.Matches(labels.Set(pod.Labels))
}

// rule is an ingress or an egress rule.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

func rulesOf(p *networkingv1.NetworkPolicy, dir networkingv1.PolicyType) (rules []rule) {
	if dir == networkingv1.PolicyTypeIngress {
		for _, r := range p.Spec.Ingress {
			rules = append(rules, rule{r.From, r.Ports})
		}
		return rules
	}
	for _, r := range p.Spec.Egress {
		rules = append(rules, rule{r.To, r.Ports})
	}
	return rules
}

// allows reports whether a rule of a policy that selects the subject allows a
// connection. A rule that holds anything invalid allows nothing.
func (c *Cluster) allows(p *networkingv1.NetworkPolicy, r rule, o other, conn Conn) bool {
	if check(r) != nil || !readable(&p.Spec.PodSelector) {
		return false
	}
	if len(r.peers) == 0 {
		return anyPort(r.ports, o.named, conn)
	}
	for _, peer := range r.peers {
		if peer.IPBlock == nil {
			if c.selects(p.Namespace, peer, o.pod) && anyPort(r.ports, o.named, conn) {
				return true
			}
		} else if inBlock(peer.IPBlock, o.addr) && anyPort(r.ports, o.namedInBlock, conn) {
			return true
		}
	}
	return false
}

// selects reports whether a peer's selectors match a pod, which may be nil.
func (c *Cluster) selects(policyNamespace string, peer networkingv1.NetworkPolicyPeer, pod *corev1.Pod) bool {
	if pod == nil {
		return false
	}
	if peer.NamespaceSelector == nil {
		if pod.Namespace != policyNamespace {
			return false
		}
	} else if !matches(peer.NamespaceSelector, c.namespaceLabels(pod.Namespace)) {
		return false
	}
	return peer.PodSelector == nil || matches(peer.PodSelector, pod.Labels)
}

func matches(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

func inBlock(b *networkingv1.IPBlock, addr netip.Addr) bool {
	cidr, err := netip.ParsePrefix(b.CIDR)
	if err != nil || !cidr.Contains(addr) {
		return false
	}
	return !slices.ContainsFunc(b.Except, func(e string) bool {
		except, err := netip.ParsePrefix(e)
		return err != nil || except.Contains(addr)
	})
}
