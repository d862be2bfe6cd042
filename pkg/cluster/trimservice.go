package cluster

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// labelOtherProxy names who balances a Service where that is not the cluster's
// usual means (k8s.io/kubernetes/pkg/proxy/apis). The EndpointSlice controller
// copies it to the Service's slices.
const labelOtherProxy = "service.kubernetes.io/service-proxy-name"

// othersProxy reports whether an object is for another proxy.
func othersProxy(in interface{ GetLabels() map[string]string }) bool {
	_, is := in.GetLabels()[labelOtherProxy]
	return is
}

// TrimService reduces a Service to what balancing needs. As with TrimPod it is
// never nil, and the error names what was left out of it.
func TrimService(in *corev1.Service) (*Service, error) {
	s := &Service{Key: Key{Namespace: in.Namespace, Name: in.Name}}
	if !in.CreationTimestamp.IsZero() {
		s.Created = in.CreationTimestamp.Unix()
	}
	p := &serviceParser{spec: field.NewPath("spec")}
	if in.Spec.Type != corev1.ServiceTypeExternalName && in.Spec.ClusterIP != corev1.ClusterIPNone {
		s.ClusterIPs = p.clusterIPs(&in.Spec)
	}
	if len(s.ClusterIPs) > 0 {
		p.balanced(s, in)
	}
	if len(p.errs) > 0 {
		return s, fmt.Errorf("Service %s: %w", s.Key, p.errs.ToAggregate())
	}
	return s, nil
}

// serviceParser collects what is wrong with a Service.
type serviceParser struct {
	spec *field.Path
	errs field.ErrorList
}

// balanced reads all but the cluster's addresses.
func (p *serviceParser) balanced(s *Service, in *corev1.Service) {
	for i, text := range in.Spec.ExternalIPs {
		s.ExternalIPs = p.add(s.ExternalIPs, text, p.spec.Child("externalIPs").Index(i))
	}
	ingress := field.NewPath("status", "loadBalancer", "ingress")
	for i := range in.Status.LoadBalancer.Ingress {
		g := &in.Status.LoadBalancer.Ingress[i]
		if g.IP != "" && (g.IPMode == nil || *g.IPMode == corev1.LoadBalancerIPModeVIP) {
			s.LoadBalancerIPs = p.add(s.LoadBalancerIPs, g.IP, ingress.Index(i).Child("ip"))
		}
	}
	p.sourceRanges(s, in.Spec.LoadBalancerSourceRanges)
	p.ports(s, &in.Spec)
	if policy := in.Spec.InternalTrafficPolicy; policy != nil {
		s.InternalLocal = *policy == corev1.ServiceInternalTrafficPolicyLocal
	}
	reachable := len(in.Spec.ExternalIPs) > 0 || in.Spec.Type == corev1.ServiceTypeNodePort || in.Spec.Type == corev1.ServiceTypeLoadBalancer
	s.ExternalLocal = reachable && in.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	if port := in.Spec.HealthCheckNodePort; s.ExternalLocal && in.Spec.Type == corev1.ServiceTypeLoadBalancer && port != 0 {
		s.HealthCheckPort = p.port(port, p.spec.Child("healthCheckNodePort"))
	}
	p.affinity(s, &in.Spec)
}

// sourceRanges reads who may connect to load balancers' addresses. If one range can't
// be used, those of a family of which no other is known lead nowhere: without ranges
// they would be everybody's.
func (p *serviceParser) sourceRanges(s *Service, texts []string) {
	bad := false
	for i, text := range texts {
		// The API server lets spaces around a range pass.
		cidr, err := ParseCIDR(strings.TrimSpace(text))
		if err != nil {
			bad = true
			p.errs = append(p.errs, field.Invalid(p.spec.Child("loadBalancerSourceRanges").Index(i), text, "not a CIDR"))
			continue
		}
		if !slices.Contains(s.SourceRanges, cidr) {
			s.SourceRanges = append(s.SourceRanges, cidr)
		}
	}
	if bad {
		s.LoadBalancerIPs = slices.DeleteFunc(s.LoadBalancerIPs, func(a netip.Addr) bool {
			return !slices.ContainsFunc(s.SourceRanges, func(r netip.Prefix) bool { return r.Addr().Is4() == a.Is4() })
		})
	}
}

// clusterIPs reads the addresses of the cluster; clusterIP counts only where the
// list, of which it is the first element, is missing.
func (p *serviceParser) clusterIPs(in *corev1.ServiceSpec) (ips []netip.Addr) {
	texts, path := in.ClusterIPs, func(i int) *field.Path { return p.spec.Child("clusterIPs").Index(i) }
	if len(texts) == 0 && in.ClusterIP != "" {
		texts, path = []string{in.ClusterIP}, func(int) *field.Path { return p.spec.Child("clusterIP") }
	}
	for i, text := range texts {
		ip, err := parseAddr(text)
		switch {
		case err != nil:
			p.errs = append(p.errs, field.Invalid(path(i), text, err.Error()))
		case slices.ContainsFunc(ips, func(have netip.Addr) bool { return have.Is4() == ip.Is4() }):
			p.errs = append(p.errs, field.Invalid(path(i), text, "is the second address of its family"))
		default:
			ips = append(ips, ip)
		}
	}
	return ips
}

// add adds an address that clients connect to.
func (p *serviceParser) add(to []netip.Addr, text string, path *field.Path) []netip.Addr {
	ip, err := parseAddr(text)
	if err == nil {
		err = special(ip)
	}
	if err != nil {
		p.errs = append(p.errs, field.Invalid(path, text, err.Error()))
	} else if !slices.Contains(to, ip) {
		to = append(to, ip)
	}
	return to
}

func (p *serviceParser) ports(s *Service, in *corev1.ServiceSpec) {
	for i := range in.Ports {
		port, path := &in.Ports[i], p.spec.Child("ports").Index(i)
		out := ServicePort{Name: port.Name, Protocol: p.protocol(&port.Protocol, path), Port: p.port(port.Port, path.Child("port"))}
		if port.NodePort != 0 {
			out.NodePort = p.port(port.NodePort, path.Child("nodePort"))
		}
		if out.Protocol != "" && out.Port != 0 {
			s.Ports = append(s.Ports, out)
		}
	}
}

// protocol reads a protocol, empty if there is none of that name.
func (p *serviceParser) protocol(in *corev1.Protocol, path *field.Path) string {
	name := corev1.ProtocolTCP
	if in != nil {
		name = cmp.Or(*in, name)
	}
	if i := slices.Index(protocols, name); i >= 0 {
		return string(protocols[i])
	}
	p.errs = append(p.errs, field.NotSupported(path.Child("protocol"), name, protocols))
	return ""
}

// port reads the number of a port, zero if it is none.
func (p *serviceParser) port(in int32, path *field.Path) uint16 {
	if in < 1 || in > 65535 {
		p.errs = append(p.errs, field.Invalid(path, in, "must be between 1 and 65535"))
		return 0
	}
	return uint16(in)
}

// affinity reads for how long clients stay with an endpoint.
func (p *serviceParser) affinity(s *Service, in *corev1.ServiceSpec) {
	if in.SessionAffinity != corev1.ServiceAffinityClientIP {
		return
	}
	seconds := corev1.DefaultClientIPServiceAffinitySeconds
	if c := in.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		seconds = *c.ClientIP.TimeoutSeconds
	}
	if seconds < 1 || seconds > 86400 {
		path := p.spec.Child("sessionAffinityConfig", "clientIP", "timeoutSeconds")
		p.errs = append(p.errs, field.Invalid(path, seconds, "must be between 1 and 86400"))
		return
	}
	s.Affinity = time.Duration(seconds) * time.Second
}

// special says why an address can be neither that of an endpoint nor one that
// clients from elsewhere connect to, as the API server's validation has it.
func special(ip netip.Addr) error {
	switch {
	case ip.IsUnspecified():
		return fmt.Errorf("may not be unspecified")
	case ip.IsLoopback():
		return fmt.Errorf("may not be a loopback address")
	case ip.IsLinkLocalUnicast():
		return fmt.Errorf("may not be a link-local address")
	case ip.IsMulticast():
		return fmt.Errorf("may not be a multicast address")
	}
	return nil
}
