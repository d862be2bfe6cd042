package own

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/sluice-cni/sluice/pkg/route"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/cluster/testbed"
	"github.com/sluice-cni/sluice/test/netns"
)

const (
	// namespace is where the tests' pods are. It goes with the suite.
	namespace = "sluice-own"
	image     = "registry.k8s.io/e2e-test-images/agnhost:2.56"
	// port is where everybody answers, over TCP and UDP.
	port = 7070
	// answers is how long an answer may take, silence how long one is waited for that
	// is not to come: the first packet to a new destination waits for its neighbour.
	answers = 3 * time.Second
	silence = 700 * time.Millisecond
)

// pod is a pod of the tests.
type pod struct {
	*bed.Host
	node string
}

// env is what tests work with.
type env struct {
	cluster *testbed.Cluster
	client  kubernetes.Interface
	// pods are two pods of each node, first all with the label app=a, then all with
	// app=b.
	pods []pod
	// nodes are the nodes themselves, in the order of the plan.
	nodes []*bed.Host
	// outside is a host that is no node: the router.
	outside *bed.Host
	// services are made by the first test that needs them.
	services *balancers
	stops    []func() error
}

// setUp makes the namespace and the pods.
func setUp(ctx context.Context, c *testbed.Cluster) (_ *env, err error) {
	e := &env{cluster: c}
	if e.client, err = c.Client(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.end(context.WithoutCancel(ctx)))
		}
	}()
	if err := e.end(ctx); err != nil { // of a run that was killed
		return nil, err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := e.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	var specs []*corev1.Pod
	for _, app := range []string{"a", "b"} {
		for _, n := range c.Plan.Nodes {
			specs = append(specs, podOn(n.Name, app+"-"+n.Name, app, "pause"))
		}
	}
	if e.pods, err = e.runPods(ctx, specs...); err != nil {
		return nil, err
	}
	for _, n := range c.Plan.Nodes {
		e.nodes = append(e.nodes, hostOf(c.Netns(n.Name), n.Name, n.Addrs))
	}
	e.outside = hostOf(c.Netns(testbed.Control), "outside", c.Plan.Subnets[0].Router)
	for _, h := range e.hosts() {
		for _, network := range networks {
			stop, err := h.Serve(network, port)
			if err != nil {
				return nil, err
			}
			e.stops = append(e.stops, stop)
		}
	}
	return e, nil
}

var networks = []string{"tcp", "udp"}

func hostOf(ns *netns.Netns, name string, prefixes []netip.Prefix) *bed.Host {
	h := &bed.Host{Netns: ns, Name: name}
	for _, p := range prefixes {
		h.Addrs = append(h.Addrs, p.Addr())
	}
	return h
}

// hosts are all that serve.
func (e *env) hosts() []*bed.Host {
	all := append(slices.Clone(e.nodes), e.outside)
	for _, p := range e.pods {
		all = append(all, p.Host)
	}
	return all
}

// families are those of the cluster's pods.
func (e *env) families() (families []int) {
	for _, p := range e.cluster.Plan.Pods {
		families = append(families, familyOf(p.Addr()))
	}
	return families
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// pod returns the pod of an app on a node, which is its index in the plan.
func (e *env) pod(app string, node int) pod {
	if app == "b" {
		node += len(e.nodes)
	}
	return e.pods[node]
}

// last is the index of the last node: another than the first, where there are two.
func (e *env) last() int { return len(e.nodes) - 1 }

// end takes away what the suite has made.
func (e *env) end(ctx context.Context) error {
	var errs []error
	for _, stop := range e.stops {
		errs = append(errs, stop())
	}
	e.stops = nil
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	namespaces := e.client.CoreV1().Namespaces()
	if err := namespaces.Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		errs = append(errs, err)
	}
	errs = append(errs, until(ctx, func() error {
		_, err := namespaces.Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(fmt.Errorf("namespace %s is still there", namespace), err)
	}))
	return errors.Join(errs...)
}

// podOn is a pod of agnhost, bound to a node by its scheduling gate's other way:
// the name of the node.
func podOn(node, name, app string, args ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app, podLabel: name}},
		Spec: corev1.PodSpec{
			NodeName: node, TerminationGracePeriodSeconds: ptr.To[int64](0),
			Containers: []corev1.Container{{Name: "main", Image: image, Args: args}},
		},
	}
}

// runPods creates pods and waits until all run.
func (e *env) runPods(ctx context.Context, specs ...*corev1.Pod) (pods []pod, err error) {
	for _, spec := range specs {
		// The namespace's service account comes a moment after it.
		err := until(ctx, func() error {
			_, err := e.client.CoreV1().Pods(namespace).Create(ctx, spec, metav1.CreateOptions{})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("create pod %s: %w", spec.Name, err)
		}
	}
	for _, spec := range specs {
		p, err := e.running(ctx, spec.Name)
		if err != nil {
			return nil, fmt.Errorf("run pod %s: %w", spec.Name, err)
		}
		pods = append(pods, p)
	}
	return pods, nil
}

// running waits until a pod runs.
func (e *env) running(ctx context.Context, name string) (p pod, err error) {
	err = until(ctx, func() error {
		object, err := e.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if object.Status.Phase != corev1.PodRunning || len(object.Status.PodIPs) != len(e.cluster.Plan.Pods) {
			return fmt.Errorf("its phase is %s, its addresses are %v", object.Status.Phase, object.Status.PodIPs)
		}
		h := &bed.Host{Name: name}
		for _, ip := range object.Status.PodIPs {
			a, err := netip.ParseAddr(ip.IP)
			if err != nil {
				return err
			}
			h.Addrs = append(h.Addrs, a)
		}
		p = pod{Host: h, node: object.Spec.NodeName}
		h.Netns, err = e.find(p.node, h.Addrs[0])
		return err
	})
	return p, err
}

// find finds the network namespace on a node that has an address.
func (e *env) find(node string, addr netip.Addr) (*netns.Netns, error) {
	process, err := e.cluster.Node(node)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join("/proc", fmt.Sprint(process.PID), "root", netns.Dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		n := netns.Open(filepath.Join(dir, entry.Name()))
		found, err := has(n, addr)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // pods come and go
			return nil, err
		}
		if found {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no network namespace of %s has the address %s", node, addr)
}

func has(n *netns.Netns, addr netip.Addr) (found bool, err error) {
	err = n.Do(func() error {
		addrs, err := route.Dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
		found = slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.IP.Equal(addr.AsSlice()) })
		return err
	})
	return found, err
}

// until polls until f succeeds. The error is f's last.
func until(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
