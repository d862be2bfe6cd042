package random

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluice-cni/sluice/pkg/oracle"
)

// An aim is a rule that a pod of the node is subject to. Connections drawn at
// random rarely meet a rule; those drawn at an aim meet it or just miss it.
type aim struct {
	policy  string // the policy's namespace
	subject oracle.Endpoint
	egress  bool
	rule    rule
}

func (p *prober) aimAt(policy *networkingv1.NetworkPolicy) {
	for _, end := range p.local {
		if end.Pod.Namespace != policy.Namespace || !matches(&policy.Spec.PodSelector, p.pods[end.Pod].Labels) {
			continue
		}
		for _, r := range policy.Spec.Ingress {
			p.aims = append(p.aims, aim{policy.Namespace, end, false, rule{r.From, r.Ports}})
		}
		for _, r := range policy.Spec.Egress {
			p.aims = append(p.aims, aim{policy.Namespace, end, true, rule{r.To, r.Ports}})
		}
	}
}

func matches(selector *metav1.LabelSelector, set map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

// aimed draws a connection that meets the rule of an aim or nearly so.
func (p *prober) aimed(c Choices) oracle.Conn {
	a := pick(c, p.aims...)
	conn := oracle.Conn{Src: p.peer(c, a), Dst: a.subject}
	if a.egress {
		conn.Src, conn.Dst = conn.Dst, conn.Src
	}
	s := p.aimedService(c, a.rule, conn.Dst)
	conn.Protocol, conn.Port = s.protocol, s.port
	return conn
}

// peer draws the far end: one that a peer of the rule names, or one of the edges
// of its block, inside and outside.
func (p *prober) peer(c Choices, a aim) oracle.Endpoint {
	n := len(a.rule.peers)
	if n == 0 {
		return p.anybody(c, a.subject)
	}
	first := c.Intn(n)
	for i := range n {
		if fits := p.fits(c, a, a.rule.peers[(first+i)%n]); len(fits) > 0 {
			return pick(c, fits...)
		}
	}
	return p.anybody(c, a.subject)
}

// fits returns the ends that a peer is about.
func (p *prober) fits(c Choices, a aim, peer networkingv1.NetworkPolicyPeer) (ends []oracle.Endpoint) {
	others := p.others(a.subject)
	if peer.IPBlock == nil {
		return slices.DeleteFunc(others, func(e oracle.Endpoint) bool { return !p.named(a.policy, peer, e) })
	}
	for _, addr := range sameFamily(a.subject, p.edgesOf(peer.IPBlock)) {
		ends = append(ends, oracle.Endpoint{Addr: addr})
	}
	// A pod inside says more than an address that means nothing else.
	if prefix, err := netip.ParsePrefix(peer.IPBlock.CIDR); err == nil && chance(c, 10) {
		for _, e := range others {
			if prefix.Contains(e.Addr) {
				ends = append(ends, e)
			}
		}
	}
	return ends
}

// named reports whether selectors mean an end that is a pod.
func (p *prober) named(policyNamespace string, peer networkingv1.NetworkPolicyPeer, e oracle.Endpoint) bool {
	if peer.NamespaceSelector == nil {
		if e.Pod.Namespace != policyNamespace {
			return false
		}
	} else {
		for _, n := range p.w.Namespaces {
			if n.Name == e.Pod.Namespace && !matches(peer.NamespaceSelector, n.Labels) {
				return false
			}
		}
	}
	return peer.PodSelector == nil || matches(peer.PodSelector, p.pods[e.Pod].Labels)
}

func (p *prober) anybody(c Choices, here oracle.Endpoint) oracle.Endpoint {
	if others := p.others(here); len(others) > 0 && chance(c, 10) {
		return pick(c, others...)
	}
	return oracle.Endpoint{Addr: p.outside(c, here)}
}

// others returns all ends of other pods of the same family.
func (p *prober) others(here oracle.Endpoint) (some []oracle.Endpoint) {
	for _, from := range [][]oracle.Endpoint{p.local, p.remote} {
		for _, e := range from {
			if e.Pod != here.Pod && e.Addr.Is4() == here.Addr.Is4() {
				some = append(some, e)
			}
		}
	}
	return some
}

func (p *prober) aimedService(c Choices, r rule, dst oracle.Endpoint) service {
	if len(r.ports) == 0 {
		return p.service(c, dst)
	}
	port := pick(c, r.ports...)
	if port.Port != nil && port.Port.Type == intstr.String {
		if s := p.meant(port.Port.StrVal, dst); len(s) > 0 {
			return pick(c, s...)
		}
	}
	if s := edgesOfPort(port); len(s) > 0 && !chance(c, 1) {
		return pick(c, s...)
	}
	return p.service(c, dst)
}

// meant returns what a name of a port may stand for on a pod, in every protocol
// and in every container.
func (p *prober) meant(name string, dst oracle.Endpoint) (services []service) {
	pod := p.pods[dst.Pod]
	if pod == nil {
		return nil
	}
	for _, k := range containers(pod) {
		for _, port := range k.Ports {
			if name == "" || port.Name == name {
				services = append(services, service{port.Protocol, uint16(port.ContainerPort)})
			}
		}
	}
	return services
}

func containers(p *corev1.Pod) []corev1.Container {
	return slices.Concat(p.Spec.Containers, p.Spec.InitContainers)
}
