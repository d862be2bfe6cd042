// Package verdicts holds what the bridge does with connections against what the
// policies say.
//
// The bridge is asked by ofproto/trace, for every pair of this node's pods, for
// the node and for machines outside, on the ports that rules and pods name and on
// one that none does. The policies are asked by package oracle, which reads the
// API's objects as they came and shares no code with the compiler and the
// pipeline: what is wrong anywhere between an object and the switch shows.
package verdicts

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/pkg/policy"
)

// Store keeps the cluster's objects as they were told: besides the compiler, not
// of it, so that what the compiler loses is noticed. It is safe for concurrent
// use.
type Store struct {
	mu         sync.Mutex
	version    uint64
	pods       map[cluster.Key]*cluster.Pod
	namespaces map[string]*cluster.Namespace
	policies   map[cluster.Key]*networkingv1.NetworkPolicy
	// frontends are the addresses of Services: what is sent there is judged as sent
	// to an endpoint.
	frontends map[cluster.Key][]netip.Addr
}

// NewStore returns a store of nothing.
func NewStore() *Store {
	return &Store{
		pods: map[cluster.Key]*cluster.Pod{}, namespaces: map[string]*cluster.Namespace{},
		policies: map[cluster.Key]*networkingv1.NetworkPolicy{}, frontends: map[cluster.Key][]netip.Addr{},
	}
}

// Update takes note of changes. It is told before the enforcer is, so that what
// the store has the bridge holds after an Enforcer.Sync.
func (s *Store) Update(events []cluster.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		switch {
		case e.Pod != nil:
			put(s.pods, e.Pod.Key, e.Pod, e.Deleted)
		case e.Namespace != nil:
			put(s.namespaces, e.Namespace.Name, e.Namespace, e.Deleted)
		case e.Policy != nil:
			put(s.policies, cluster.Key{Namespace: e.Policy.Namespace, Name: e.Policy.Name}, e.Policy, e.Deleted)
		case e.Service != nil:
			put(s.frontends, e.Service.Key, addressesOf(e.Service), e.Deleted)
		default:
			continue
		}
		s.version++
	}
}

func put[K comparable, V any](m map[K]V, key K, v V, deleted bool) {
	if deleted {
		delete(m, key)
		return
	}
	m[key] = v
}

// addressesOf are the addresses at which a Service is reached.
func addressesOf(s *cluster.Service) []netip.Addr {
	return slices.Concat(s.ClusterIPs, s.ExternalIPs, s.LoadBalancerIPs)
}

func compareKeys(a, b cluster.Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// snapshot is the store at one moment, as the oracle reads it, with the ends that
// connections may have.
type snapshot struct {
	version    uint64
	node       string
	namespaces []*corev1.Namespace
	nodes      []*corev1.Node
	pods       map[cluster.Key]*corev1.Pod
	byAddr     map[netip.Addr][]*corev1.Pod
	policies   map[string][]*networkingv1.NetworkPolicy // by namespace
	// local are the pods of this node, unknown the ports whose pod the store does
	// not have.
	local     []end
	unknown   []string
	elsewhere []end
	frontends map[netip.Addr]bool
}

// snapshot returns the store as of now, for a node with these ports and
// addresses. portsTell says that pods have the addresses of their ports though
// the cluster tells of none.
func (s *Store) snapshot(node string, ports map[string]policy.LocalPort, addrs []netip.Addr, portsTell bool) *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &snapshot{
		version: s.version, node: node, pods: map[cluster.Key]*corev1.Pod{}, byAddr: map[netip.Addr][]*corev1.Pod{},
		policies: map[string][]*networkingv1.NetworkPolicy{}, frontends: map[netip.Addr]bool{},
	}
	for _, name := range slices.Sorted(maps.Keys(s.namespaces)) {
		n := &corev1.Namespace{}
		n.Name, n.Labels = name, s.namespaces[name].Labels
		out.namespaces = append(out.namespaces, n)
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.policies), compareKeys) {
		out.policies[key.Namespace] = append(out.policies[key.Namespace], s.policies[key])
	}
	for _, as := range s.frontends {
		for _, a := range as {
			out.frontends[a] = true
		}
	}
	own := &corev1.Node{}
	own.Name = node
	for _, a := range addrs {
		own.Status.Addresses = append(own.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.String()})
	}
	out.nodes = []*corev1.Node{own}

	behind := map[cluster.Key][]netip.Addr{} // a port of this node
	taken := map[netip.Addr]bool{}
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		p := ports[name]
		pod := s.pods[p.Pod]
		if pod == nil || pod.UID != "" && p.UID != "" && pod.UID != p.UID || pod.HostNetwork || pod.Finished {
			out.unknown = append(out.unknown, name+" of pod "+p.Pod.String())
			continue
		}
		for _, a := range p.Addrs {
			taken[a] = true
		}
		if len(pod.IPs) > 0 || portsTell {
			behind[p.Pod] = append(behind[p.Pod], p.Addrs...)
		}
		out.local = append(out.local, end{name: p.Pod.String(), port: name, pod: p.Pod, addrs: p.Addrs})
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.pods), compareKeys) {
		pod := s.pods[key]
		ips, here := behind[key]
		at := node
		if !here {
			at = pod.Node
			// Whoever is behind a port of this node has the address.
			ips = slices.DeleteFunc(slices.Clone(pod.IPs), func(a netip.Addr) bool { return taken[a] })
			if len(ips) > 0 && at != node && !pod.HostNetwork && !pod.Finished {
				out.elsewhere = append(out.elsewhere, end{name: key.String(), pod: key, addrs: ips})
			}
		}
		object := podObject(pod, at, ips)
		out.pods[key] = object
		for _, a := range ips {
			out.byAddr[a] = append(out.byAddr[a], object)
		}
	}
	return out
}

// judge asks the oracle about a connection. It is given no more of the cluster
// than it would look at: the pods of both ends, and the policies of their
// namespaces.
func (s *snapshot) judge(conn oracle.Conn) oracle.Verdict {
	c := &oracle.Cluster{Namespaces: s.namespaces, Nodes: s.nodes}
	add := func(p *corev1.Pod) {
		if p == nil || slices.Contains(c.Pods, p) {
			return
		}
		if !slices.ContainsFunc(c.Pods, func(o *corev1.Pod) bool { return o.Namespace == p.Namespace }) {
			c.Policies = append(c.Policies, s.policies[p.Namespace]...)
		}
		c.Pods = append(c.Pods, p)
	}
	for _, e := range []oracle.Endpoint{conn.Src, conn.Dst} {
		add(s.pods[cluster.Key(e.Pod)])
		for _, p := range s.byAddr[e.Addr] {
			add(p)
		}
	}
	return c.Judge(conn)
}

// podObject is a pod as the API has it, as far as policies are concerned.
func podObject(p *cluster.Pod, node string, ips []netip.Addr) *corev1.Pod {
	out := &corev1.Pod{}
	out.Namespace, out.Name, out.Labels = p.Namespace, p.Name, p.Labels
	out.Spec.NodeName, out.Spec.HostNetwork = node, p.HostNetwork
	if p.Finished {
		out.Status.Phase = corev1.PodSucceeded
	}
	for _, a := range ips {
		out.Status.PodIPs = append(out.Status.PodIPs, corev1.PodIP{IP: a.String()})
	}
	var c corev1.Container
	for _, port := range p.Ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: port.Name, Protocol: corev1.Protocol(port.Protocol), ContainerPort: int32(port.Port)})
	}
	out.Spec.Containers = []corev1.Container{c}
	return out
}
