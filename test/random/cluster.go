package random

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/sluice-cni/sluice/pkg/oracle"
)

// Cluster is a cluster as the API server shows it at one moment. A cluster that
// has been handed out never changes: an edit makes a new one of deep copies.
type Cluster struct {
	oracle.Cluster
	// Seed says how to make the cluster again; it is for messages only.
	Seed string
	// Node is the node whose enforcement is asked about.
	Node string

	pods, policies int // ever made: names and UIDs are not used twice
}

// Size says how large clusters get. Counts of pods and policies vary around the
// figures, by half of them.
type Size struct {
	Namespaces, Nodes, Pods, Policies int
	// Rules, Peers and Ports are the most there are in a policy's direction, in a
	// rule and in a rule.
	Rules, Peers, Ports int
}

// Sizes that have proved useful: Small keeps a failure readable, Large makes
// rules share and collide.
var (
	Small = Size{Namespaces: 4, Nodes: 3, Pods: 12, Policies: 8, Rules: 3, Peers: 3, Ports: 3}
	Large = Size{Namespaces: 8, Nodes: 5, Pods: 120, Policies: 60, Rules: 5, Peers: 5, Ports: 5}
)

// addressesAnnotation holds the addresses of a pod's port as long as the API
// does not: the CNI plugin has given them, the kubelet has not yet reported them.
const addressesAnnotation = "sluice.test/addresses"

// New makes a cluster.
func New(c Choices, size Size) *Cluster {
	w := &Cluster{Seed: "drawn by rapid", Node: nodeName(0)}
	for i := range size.Nodes {
		w.Nodes = append(w.Nodes, newNode(i))
	}
	for i := range size.Namespaces {
		w.Namespaces = append(w.Namespaces, newNamespace(c, i))
	}
	for _, p := range list(c, size.Pods/2, size.Pods*3/2, func(c Choices) *corev1.Pod { return w.newPod(c) }) {
		w.addPod(c, p)
	}
	policies := list(c, size.Policies/2, size.Policies*3/2, func(c Choices) *networkingv1.NetworkPolicy {
		return w.newPolicy(c, size)
	})
	for _, p := range policies {
		w.addPolicy(p)
	}
	return w
}

// FromSeed makes the cluster that follows from a seed and notes the seed.
func FromSeed(seed uint64, size Size) *Cluster {
	w := New(Seed(seed), size)
	w.Seed = fmt.Sprintf("%d", seed)
	return w
}

// Clusters is a generator of clusters for rapid.
func Clusters(size Size) *rapid.Generator[*Cluster] {
	return custom(func(c Choices) *Cluster { return New(c, size) })
}

// GoString keeps the log of a rapid test short; Manifests tells all.
func (w *Cluster) GoString() string {
	return fmt.Sprintf("cluster of %d namespaces, %d nodes, %d pods and %d policies",
		len(w.Namespaces), len(w.Nodes), len(w.Pods), len(w.Policies))
}

// clone returns a deep copy.
func (w *Cluster) clone() *Cluster {
	n := *w
	n.Namespaces = copies(w.Namespaces)
	n.Nodes = copies(w.Nodes)
	n.Pods = copies(w.Pods)
	n.Policies = copies(w.Policies)
	return &n
}

func copies[T interface{ DeepCopy() T }](from []T) []T {
	to := make([]T, len(from))
	for i, o := range from {
		to[i] = o.DeepCopy()
	}
	return to
}

// PortAddrs returns the addresses that a pod's port carries, at most one of each
// family. They are there before the API knows them; a hostNetwork pod has none
// of its own, and a finished one none any more.
func PortAddrs(p *corev1.Pod) []netip.Addr {
	if p.Spec.HostNetwork || finished(p) {
		return nil
	}
	if a, ok := p.Annotations[addressesAnnotation]; ok && len(p.Status.PodIPs) == 0 {
		var addrs []netip.Addr
		for s := range strings.SplitSeq(a, ",") {
			addrs = append(addrs, netip.MustParseAddr(s))
		}
		return addrs
	}
	return statusAddrs(p)
}

func statusAddrs(p *corev1.Pod) (addrs []netip.Addr) {
	for _, ip := range p.Status.PodIPs {
		addrs = append(addrs, netip.MustParseAddr(ip.IP))
	}
	return addrs
}

func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// someNamespace prefers the first ones, so that pods and policies meet in them.
func (w *Cluster) someNamespace(c Choices) string {
	n := len(w.Namespaces)
	return w.Namespaces[min(c.Intn(n), c.Intn(n))].Name
}

func newNamespace(c Choices, i int) *corev1.Namespace {
	name := fmt.Sprintf("ns%d", i)
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: namespaceLabels(c, name)}}
}

func namespaceLabels(c Choices, name string) map[string]string {
	l := someLabels(c, namespaceAlphabet)
	l[corev1.LabelMetadataName] = name
	return l
}
