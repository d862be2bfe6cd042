package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/test/apiserver"
	"github.com/sluice-cni/sluice/test/bed"
)

// node is a node of the cluster with its pods.
type node struct {
	*bed.Bed
	api      *apiserver.APIServer
	name     string
	gateways []netip.Addr
}

// logIfFailed adds what the agent logged to the log of a test that fails.
func (n *node) logIfFailed(t testing.TB) {
	offset := int64(0)
	if info, err := os.Stat(n.AgentLog()); err == nil {
		offset = info.Size()
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		text, err := os.ReadFile(n.AgentLog())
		if err != nil {
			t.Log(err)
			return
		}
		t.Logf("the agent's log during this test:\n%s", text[min(offset, int64(len(text))):])
	})
}

// within returns a context that ends when what is to happen has taken too long.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), soon())
	t.Cleanup(cancel)
	return ctx
}

// browser asks HTTP servers from a host.
func browser(h *bed.Host) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return h.Dial(ctx, network, netip.MustParseAddrPort(addr))
		},
	}}
}

// namespace creates a namespace.
func (n *node) namespace(t testing.TB, name string, labels map[string]string) {
	t.Helper()
	if err := n.api.CreateNamespace(within(t), name, labels); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.deleteNamespace(within(t), name); err != nil {
			t.Error(err)
		}
	})
}

// deleteNamespace deletes a namespace and its policies, as the namespace
// controller does; its pods are gone by then.
func (n *node) deleteNamespace(ctx context.Context, name string) error {
	policies := n.api.Client().NetworkingV1().NetworkPolicies(name)
	if err := policies.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return err
	}
	namespaces := n.api.Client().CoreV1().Namespaces()
	if err := namespaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	object, err := namespaces.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	object.Spec.Finalizers = nil
	_, err = namespaces.Finalize(ctx, object, metav1.UpdateOptions{})
	return err
}

// servedPorts are the TCP and UDP ports that pods, the node and hosts outside
// answer on.
var servedPorts = []uint16{80, 5432}

// create creates a Pod object that is bound to the node, without a status, and a
// network namespace for it. Both go when the test ends.
func (n *node) create(t testing.TB, pod *corev1.Pod) *bed.Pod {
	t.Helper()
	pod.Spec.NodeName = n.name
	created, err := n.api.CreatePod(within(t), pod)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.api.DeletePod(within(t), pod.Namespace, pod.Name); err != nil && !apierrors.IsNotFound(errors.Unwrap(err)) {
			t.Error(err)
		}
	})
	return n.netns(t, pod.Namespace, pod.Name, string(created.UID))
}

// netns makes the network namespace of a pod. When the test ends the pod is
// detached and the namespace goes.
func (n *node) netns(t testing.TB, namespace, name, uid string) *bed.Pod {
	t.Helper()
	p, err := n.NewPod(namespace, name, uid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.DeletePod(within(t), p); err != nil {
			t.Error(err)
		}
	})
	return p
}

// attach attaches a pod and has it serve.
func (n *node) attach(t testing.TB, p *bed.Pod) {
	t.Helper()
	if err := p.Add(within(t)); err != nil {
		t.Fatal(err)
	}
	serve(t, &p.Host, servedPorts...)
}

func serve(t testing.TB, h *bed.Host, ports ...uint16) {
	t.Helper()
	for _, port := range ports {
		for _, network := range []string{"tcp", "udp"} {
			stop, err := h.Serve(network, port)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// run writes a pod's status as a kubelet does when the pod runs.
func (n *node) run(t testing.TB, p *bed.Pod) {
	t.Helper()
	if err := n.api.SetPodStatus(within(t), p.Namespace, p.PodName, corev1.PodRunning, p.Addrs...); err != nil {
		t.Fatal(err)
	}
}

// pod creates, attaches and runs a pod.
func (n *node) pod(t testing.TB, namespace, name string, labels map[string]string, ports ...corev1.ContainerPort) *bed.Pod {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	if len(ports) > 0 {
		pod.Spec.Containers = []corev1.Container{{Name: "main", Ports: ports}}
	}
	p := n.create(t, pod)
	n.attach(t, p)
	n.run(t, p)
	return p
}

// apply applies manifests with kubectl.
func (n *node) apply(t testing.TB, manifests string) {
	t.Helper()
	if err := n.api.Apply(within(t), manifests); err != nil {
		t.Fatal(err)
	}
}

// kubectl runs kubectl.
func (n *node) kubectl(t testing.TB, args ...string) {
	t.Helper()
	if _, err := n.api.Kubectl(within(t), args...); err != nil {
		t.Fatal(err)
	}
}

// oracle returns the oracle of what the API server holds.
func (n *node) oracle(t testing.TB) *oracle.Cluster {
	t.Helper()
	ctx, client, all := within(t), n.api.Client(), metav1.ListOptions{}
	namespaces, err := client.CoreV1().Namespaces().List(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	pods, err := client.CoreV1().Pods("").List(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	policies, err := client.NetworkingV1().NetworkPolicies("").List(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	return &oracle.Cluster{
		Namespaces: pointers(namespaces.Items), Pods: pointers(pods.Items),
		Nodes: pointers(nodes.Items), Policies: pointers(policies.Items),
	}
}

func pointers[T any](all []T) []*T {
	out := make([]*T, len(all))
	for i := range all {
		out[i] = &all[i]
	}
	return out
}

// eventually polls until what holds, with what went wrong last in the failure.
func eventually(t testing.TB, what string, check func(ctx context.Context) error) {
	t.Helper()
	if err := poll(within(t), check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func poll(ctx context.Context, check func(ctx context.Context) error) error {
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// keyOf returns the pod that a host is, or the zero key.
func keyOf(h *bed.Host) oracle.Key {
	namespace, name, ok := strings.Cut(h.Name, "/")
	if !ok {
		return oracle.Key{}
	}
	return oracle.Key{Namespace: namespace, Name: name}
}

// deletePolicy deletes a NetworkPolicy.
func (n *node) deletePolicy(t testing.TB, namespace, name string) {
	t.Helper()
	n.kubectl(t, "delete", "networkpolicy", "-n", namespace, name)
}
