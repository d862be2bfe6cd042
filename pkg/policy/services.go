package policy

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sluice-cni/sluice/flows"
)

// port reads an item of ports into a rule.
func (p *parser) port(r *parsedRule, path string, in *networkingv1.NetworkPolicyPort) {
	name := corev1.ProtocolTCP
	if in.Protocol != nil {
		name = *in.Protocol
	}
	protocol, ok := protocols[string(name)]
	if !ok {
		p.report(path+".protocol", "%q is not one of TCP, UDP, SCTP", name)
		return
	}
	switch {
	case in.Port == nil && in.EndPort != nil:
		p.report(path+".endPort", "needs a port to begin at")
	case in.Port == nil:
		r.services = append(r.services, flows.Service{Protocol: protocol})
	case in.Port.Type == intstr.String && in.EndPort != nil:
		p.report(path+".endPort", "can't be combined with the named port %q", in.Port.StrVal)
	case in.Port.Type == intstr.String:
		if bad := validation.IsValidPortName(in.Port.StrVal); len(bad) > 0 {
			p.report(path+".port", "%q is no name of a port: %s", in.Port.StrVal, strings.Join(bad, "; "))
			return
		}
		r.named = append(r.named, portName{protocol, in.Port.StrVal})
	case in.Port.IntVal < 1 || in.Port.IntVal > 65535:
		p.report(path+".port", "%d is not in 1-65535", in.Port.IntVal)
	case in.EndPort == nil:
		r.services = append(r.services, flows.Service{Protocol: protocol, Port: uint16(in.Port.IntVal)})
	case *in.EndPort < in.Port.IntVal || *in.EndPort > 65535:
		p.report(path+".endPort", "%d is not in %d-65535, from port up", *in.EndPort, in.Port.IntVal)
	default:
		r.services = append(r.services, flows.Service{Protocol: protocol, Port: uint16(in.Port.IntVal), EndPort: uint16(*in.EndPort)})
	}
}

// mergeServices returns the union of services in the fewest ranges, sorted.
func mergeServices(in []flows.Service) []flows.Service {
	slices.SortFunc(in, func(a, b flows.Service) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	var out []flows.Service
	for _, s := range in {
		if n := len(out); n > 0 && out[n-1].Protocol == s.Protocol {
			last := &out[n-1]
			// Zero is every port, and sorts first.
			if last.Port == 0 {
				continue
			}
			if end := lastPort(*last); int(s.Port) <= int(end)+1 {
				if end = max(end, lastPort(s)); end > last.Port {
					last.EndPort = end
				}
				continue
			}
		}
		if s.EndPort == s.Port {
			s.EndPort = 0
		}
		out = append(out, s)
	}
	return out
}

// lastPort returns the last port of a service's range.
func lastPort(s flows.Service) uint16 { return max(s.Port, s.EndPort) }
