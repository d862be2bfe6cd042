package oracle

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// anyPort reports whether a rule's ports match a connection. Names are looked
// up on the given pod; without a pod no name matches.
func anyPort(ports []networkingv1.NetworkPolicyPort, named *corev1.Pod, conn Conn) bool {
	if len(ports) == 0 {
		return true
	}
	for _, p := range ports {
		if protocolOf(p) != conn.Protocol {
			continue
		}
		if p.Port == nil {
			return true
		}
		first := int32(p.Port.IntValue())
		if p.Port.Type == intstr.String {
			var ok bool
			if first, ok = lookUp(named, p.Port.StrVal, conn.Protocol); !ok {
				continue
			}
		}
		last := first
		if p.EndPort != nil {
			last = *p.EndPort
		}
		if port := int32(conn.Port); first <= port && port <= last {
			return true
		}
	}
	return false
}

func protocolOf(p networkingv1.NetworkPolicyPort) corev1.Protocol {
	if p.Protocol == nil {
		return corev1.ProtocolTCP
	}
	return *p.Protocol
}

// lookUp finds a pod's first container port of a name and protocol. Of the init
// containers only those that go on running (sidecars) can be listening.
func lookUp(pod *corev1.Pod, name string, protocol corev1.Protocol) (int32, bool) {
	if pod == nil {
		return 0, false
	}
	containers := append([]corev1.Container(nil), pod.Spec.Containers...)
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers, c)
		}
	}
	for _, c := range containers {
		for _, p := range c.Ports {
			if p.Name == name && cmp.Or(p.Protocol, corev1.ProtocolTCP) == protocol {
				return p.ContainerPort, true
			}
		}
	}
	return 0, false
}
