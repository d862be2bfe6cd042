package random

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// The alphabets of labels: few keys and values, so that selectors hit.
var (
	podAlphabet       = map[string][]string{"app": {"web", "api", "db"}, "tier": {"front", "back"}, "canary": {"", "yes"}}
	namespaceAlphabet = map[string][]string{"team": {"red", "blue"}, "stage": {"test", "live"}}
)

func keysOf(alphabet map[string][]string) []string {
	keys := make([]string, 0, len(alphabet))
	for k := range alphabet {
		keys = append(keys, k)
	}
	slices.Sort(keys) // choices must not depend on the order of a map
	return keys
}

func someLabels(c Choices, alphabet map[string][]string) map[string]string {
	l := map[string]string{}
	for _, k := range keysOf(alphabet) {
		if chance(c, 11) {
			l[k] = pick(c, alphabet[k]...)
		}
	}
	return l
}

// Numbers and protocols that names of ports stand for.
var (
	portNames   = []string{"http", "dns", "peer"}
	portNumbers = []int32{80, 8080, 53, 5353, 8443}
	protocols   = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
)

// newPod draws all of a pod but its name and its addresses.
func (w *Cluster) newPod(c Choices) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.someNamespace(c),
			Labels:    someLabels(c, podAlphabet),
		},
		Spec:   corev1.PodSpec{NodeName: w.Node},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if chance(c, 6) {
		p.Spec.NodeName = w.Nodes[c.Intn(len(w.Nodes))].Name
	}
	p.Spec.Containers = []corev1.Container{newContainer(c, "main", 1)}
	if chance(c, 3) {
		p.Spec.Containers = append(p.Spec.Containers, newContainer(c, "second", 0))
	}
	if chance(c, 2) {
		sidecar := newContainer(c, "init", 0)
		if chance(c, 8) {
			sidecar.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
		}
		p.Spec.InitContainers = []corev1.Container{sidecar}
	}
	switch c.Intn(16) {
	case 13:
		p.Spec.HostNetwork = true
	case 14:
		p.Status.Phase = pick(c, corev1.PodSucceeded, corev1.PodFailed)
	case 15:
		p.Status.Phase = corev1.PodPending
	}
	return p
}

func newContainer(c Choices, name string, least int) corev1.Container {
	k := corev1.Container{Name: name, Image: "none"}
	seen := map[string]bool{} // a name may stand once in a container
	for _, p := range list(c, least, 3, newContainerPort) {
		if !seen[p.Name] {
			seen[p.Name] = p.Name != ""
			k.Ports = append(k.Ports, p)
		}
	}
	return k
}

func newContainerPort(c Choices) corev1.ContainerPort {
	p := corev1.ContainerPort{Name: pick(c, portNames...), ContainerPort: pick(c, portNumbers...), Protocol: corev1.ProtocolTCP}
	if p.Name == "dns" || chance(c, 3) {
		p.Protocol = pick(c, corev1.ProtocolUDP, corev1.ProtocolSCTP, corev1.ProtocolTCP)
	}
	if chance(c, 1) {
		p.Name = ""
	}
	return p
}

// addPod gives a pod its name and its addresses and adds it. A pod that is not
// pending has its addresses in status.podIPs, a pending one in the annotation.
func (w *Cluster) addPod(c Choices, p *corev1.Pod) {
	p.Name = fmt.Sprintf("pod%d", w.pods)
	w.giveUID(p)
	node := slices.IndexFunc(w.Nodes, func(n *corev1.Node) bool { return n.Name == p.Spec.NodeName })
	addrs := w.freeAddrs(c, node)
	if p.Spec.HostNetwork {
		addrs = nodeAddrs(node)
	}
	families := pick(c, addrs[:], addrs[:], addrs[:], addrs[:1], addrs[1:])
	if p.Status.Phase == corev1.PodPending {
		var texts []string
		for _, a := range families {
			texts = append(texts, a.String())
		}
		p.Annotations = map[string]string{addressesAnnotation: strings.Join(texts, ",")}
	} else {
		setAddrs(p, families)
	}
	w.Pods = append(w.Pods, p)
}

func (w *Cluster) giveUID(p *corev1.Pod) {
	p.UID = types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", w.pods))
	w.pods++
}

func setAddrs(p *corev1.Pod, addrs []netip.Addr) {
	p.Status.PodIPs = nil
	for _, a := range addrs {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: a.String()})
	}
	p.Status.PodIP = p.Status.PodIPs[0].IP
}

// freeAddrs returns the addresses of a slot of the node that no pod uses. Those
// of a finished pod are free, and now and then they are what is asked for.
func (w *Cluster) freeAddrs(c Choices, node int) [2]netip.Addr {
	used, given := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for _, p := range w.Pods {
		for _, a := range PortAddrs(p) {
			used[a] = true
		}
		for _, a := range statusAddrs(p) {
			given[a] = true
		}
	}
	reuse := chance(c, 8)
	for slot := 0; ; slot++ {
		a := podAddrs(node, slot)
		free := !used[a[0]] && !used[a[1]]
		if free && (reuse || !given[a[0]] && !given[a[1]]) {
			return a
		}
	}
}
