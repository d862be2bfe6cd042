package testbed

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluice-cni/sluice/test/cluster/daemon"
	"github.com/sluice-cni/sluice/test/cluster/node"
)

func TestMain(m *testing.M) {
	daemon.Main()
	if len(os.Args) == 3 && os.Args[1] == NodeCommand {
		log.Fatal(node.RunFile(os.Args[2]))
	}
	os.Exit(m.Run())
}

// WholeEnv is set where everything is there that whole clusters need: it takes
// long to build. `make test-cluster` sets it.
const WholeEnv = "SLUICE_WHOLE_CLUSTERS"

// whole returns the options of a small cluster.
func whole(t *testing.T) Options {
	if os.Getenv(WholeEnv) == "" {
		t.Skip("brings up whole clusters: make test-cluster")
	}
	return Options{Dir: filepath.Join(t.TempDir(), "cluster"), Nodes: 2, Subnets: 2, Family: Dual, CNI: PTP, Proxy: true, MTU: 1500}
}

// leavesNothing checks that nothing is left of a cluster.
func leavesNothing(t *testing.T, o Options, daemons []daemon.Record) {
	t.Helper()
	for _, d := range daemons {
		if d.Running() {
			t.Errorf("%s still runs", d.Name)
		}
	}
	if _, err := os.Stat(o.Dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", o.Dir, err)
	}
	if points, err := mountsBelow(o.Dir); err != nil || len(points) > 0 {
		t.Errorf("still mounted: %v, %v", points, err)
	}
	v1, v2, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	c := Cluster{Options: o}
	for _, root := range append(v1, v2...) {
		if _, err := os.Stat(filepath.Join(root, c.cgroup())); !os.IsNotExist(err) {
			t.Errorf("cgroup %s is still in %s: %v", c.cgroup(), root, err)
		}
	}
}

func TestPodsOfTwoNodesReachEachOtherAndDownLeavesNothing(t *testing.T) {
	o := whole(t)
	c, err := Up(t.Context(), o, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Down(context.Background(), o.Dir); err != nil {
			t.Error(err)
		}
	})
	daemons, err := c.Daemons()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Up(t.Context(), o, t.Output()); err == nil {
		t.Error("a second cluster is brought up in the same folder")
	}
	server := runPod(t, c, "server", c.Plan.Nodes[0].Name, ready, "netexec", "--http-port=8080")
	for i, addr := range server.Status.PodIPs {
		target := fmt.Sprintf("[%s]:8080", addr.IP)
		client := runPod(t, c, fmt.Sprintf("client%d", i), c.Plan.Nodes[1].Name, ended, "connect", "--timeout=10s", target)
		if client.Status.Phase != corev1.PodSucceeded {
			t.Errorf("a pod of %s does not reach %s of %s: %s", client.Spec.NodeName, target, server.Spec.NodeName, client.Status.Phase)
		}
	}
	if err := Down(t.Context(), o.Dir); err != nil {
		t.Fatal(err)
	}
	leavesNothing(t, o, daemons)
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// runPod runs a pod until a condition holds.
func runPod(t *testing.T, c *Cluster, name, nodeName string, until func(*corev1.Pod) bool, args ...string) *corev1.Pod {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	pods := client.CoreV1().Pods(metav1.NamespaceDefault)
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	spec := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			NodeName: nodeName, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: ptr.To[int64](0),
			Containers: []corev1.Container{{Name: "c", Image: "registry.k8s.io/e2e-test-images/agnhost:2.56", Args: args}},
		},
	}
	var pod *corev1.Pod
	// The namespace's service account may not be there yet.
	err = poll(ctx, func() (bool, error) {
		pod, err = pods.Create(ctx, spec, metav1.CreateOptions{})
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("create pod %s: %v", name, err)
	}
	err = poll(ctx, func() (bool, error) {
		pod, err = pods.Get(ctx, name, metav1.GetOptions{})
		return err == nil && until(pod), err
	})
	if err != nil {
		t.Fatalf("run pod %s: %v; its status: %+v", name, err, pod.Status)
	}
	return pod
}

func TestUpThatIsInterruptedLeavesNothing(t *testing.T) {
	for _, after := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 5 * time.Second} {
		o := whole(t)
		ctx, cancel := context.WithTimeout(t.Context(), after)
		defer cancel()
		if _, err := Up(ctx, o, t.Output()); err == nil {
			t.Errorf("a cluster came up within %s", after)
			if err := Down(t.Context(), o.Dir); err != nil {
				t.Fatal(err)
			}
		}
		leavesNothing(t, o, nil)
	}
}
