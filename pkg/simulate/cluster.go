package simulate

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Cluster brings a cluster onto a bed: every pod that has a network of its own
// gets a port there, whatever node it is bound to, and an address if it has none.
// It is owned by one goroutine, the one that calls Apply; what it tells is as of
// the last Apply.
type Cluster struct {
	bed     *Bed
	node    string
	problem func(error)
	addrs   *addresses

	pods       map[cluster.Key]*cluster.Pod // with the addresses they are given
	leftOut    map[cluster.Key]string
	namespaces map[string]map[string]string
	policies   map[cluster.Key]*networkingv1.NetworkPolicy
}

// NewCluster returns a cluster of no pods on a bed that was started with o.
func NewCluster(b *Bed, o Options) *Cluster {
	problem := o.OnProblem
	if problem == nil {
		problem = func(error) {}
	}
	return &Cluster{
		bed: b, node: o.Node, problem: problem, addrs: newAddresses(o.PodCIDRs),
		pods: map[cluster.Key]*cluster.Pod{}, leftOut: map[cluster.Key]string{},
		namespaces: map[string]map[string]string{}, policies: map[cluster.Key]*networkingv1.NetworkPolicy{},
	}
}

// Reasons why a pod is left out.
const (
	hostNetwork = "is on the host's network, where policies do not apply"
	finished    = "has finished"
	noAddress   = "has no address that can be used"
)

// Apply enters changes and returns when the bed enforces them. A pod that can't
// be simulated is left out, and the problem reported.
func (c *Cluster) Apply(ctx context.Context, events []cluster.Event) error {
	// What goes, goes first: its address may be another's now.
	for _, e := range events {
		if e.Pod == nil {
			c.note(e)
		} else if err := c.leave(ctx, e); err != nil {
			return err
		}
	}
	// Addresses that manifests state come before those that are given out.
	for _, e := range events {
		if e.Pod != nil && !e.Deleted && networked(e.Pod) && len(e.Pod.IPs) > 0 {
			if err := c.addrs.claim(e.Pod.Key, e.Pod.IPs); err != nil {
				c.problem(err)
				c.leftOut[e.Pod.Key] = noAddress
			}
		}
	}
	told := make([]cluster.Event, len(events))
	for i, e := range events {
		if e.Pod != nil && !e.Deleted {
			pod, err := c.enter(ctx, e.Pod)
			if err != nil {
				return err
			}
			e.Pod = pod
		}
		told[i] = e
	}
	c.bed.Emit(told)
	return c.bed.Sync(ctx)
}

// note keeps what the choice of connections needs of objects other than pods.
func (c *Cluster) note(e cluster.Event) {
	switch {
	case e.Namespace != nil && e.Deleted:
		delete(c.namespaces, e.Namespace.Name)
	case e.Namespace != nil:
		c.namespaces[e.Namespace.Name] = e.Namespace.Labels
	case e.Policy != nil:
		key := cluster.Key{Namespace: e.Policy.Namespace, Name: e.Policy.Name}
		if delete(c.policies, key); !e.Deleted {
			c.policies[key] = e.Policy
		}
	}
}

// networked reports whether a pod has a port on a bridge.
func networked(p *cluster.Pod) bool { return !p.HostNetwork && !p.Finished }

// leave detaches a pod that is gone or that needs another port.
func (c *Cluster) leave(ctx context.Context, e cluster.Event) error {
	delete(c.leftOut, e.Pod.Key)
	old := c.pods[e.Pod.Key]
	if old == nil {
		return nil
	}
	stays := !e.Deleted && networked(e.Pod) && old.UID == e.Pod.UID && (len(e.Pod.IPs) == 0 || slices.Equal(old.IPs, e.Pod.IPs))
	if stays {
		return nil
	}
	delete(c.pods, e.Pod.Key)
	c.addrs.release(old.IPs)
	return c.bed.Detach(ctx, e.Pod.Key)
}

// enter attaches a pod, if it is to be, and returns it as the bed should know it.
func (c *Cluster) enter(ctx context.Context, in *cluster.Pod) (*cluster.Pod, error) {
	pod := *in
	pod.Node = c.node
	switch old := c.pods[in.Key]; {
	case in.HostNetwork:
		c.leftOut[in.Key] = hostNetwork
		return &pod, nil
	case in.Finished:
		c.leftOut[in.Key] = finished
		return &pod, nil
	case c.leftOut[in.Key] != "":
		pod.IPs = nil
		return &pod, nil
	case old != nil:
		pod.IPs = old.IPs
		c.pods[in.Key] = &pod
		return &pod, nil
	}
	if len(pod.IPs) == 0 {
		var err error
		if pod.IPs, err = c.addrs.take(in.Key); err != nil {
			c.problem(err)
			c.leftOut[in.Key] = noAddress
			return &pod, nil
		}
	}
	if err := c.bed.Attach(ctx, pod.Key, pod.UID, pod.IPs); err != nil {
		return nil, err
	}
	c.pods[in.Key] = &pod
	return &pod, nil
}

// Pod is a pod of the simulated node.
type Pod struct {
	// Name is "namespace/name".
	Name  string       `json:"name"`
	Addrs []netip.Addr `json:"addrs"`
}

// Pods lists the pods that have a port, sorted.
func (c *Cluster) Pods() []Pod {
	out := []Pod{}
	for _, key := range sortedKeys(c.pods) {
		out = append(out, Pod{Name: key.String(), Addrs: c.pods[key].IPs})
	}
	return out
}

// LeftOut is a pod that is not simulated.
type LeftOut struct {
	Pod    string `json:"pod"`
	Reason string `json:"reason"`
}

// LeftOut lists the pods that are not simulated, sorted.
func (c *Cluster) LeftOut() []LeftOut {
	out := []LeftOut{}
	for _, key := range sortedKeys(c.leftOut) {
		out = append(out, LeftOut{Pod: key.String(), Reason: c.leftOut[key]})
	}
	return out
}

func sortedKeys[V any](m map[cluster.Key]V) []cluster.Key {
	return slices.SortedFunc(maps.Keys(m), func(a, b cluster.Key) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}
