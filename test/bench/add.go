package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// benchAdd attaches the node's pods, each known to the API server before, as a
// runtime does. Bare veth pairs are made the same way before, and are gone then:
// ovs-vswitchd looks at all its ports anew whenever an interface of the node
// changes, also one that is not its own.
func (n *node) benchAdd(ctx context.Context, r *report) error {
	var bare times
	for i := range nodePods {
		took, err := n.addBare(ctx, fmt.Sprintf("bare%d", i))
		if err != nil {
			return err
		}
		bare = append(bare, took)
	}
	// The node looks at itself again after each change of addresses.
	before, err := n.waitReady(ctx)
	if err != nil {
		return err
	}
	cni := libcni.NewCNIConfigWithCacheDir([]string{n.dir}, n.path("cache"), nil)
	list, err := libcni.ConfListFromBytes(fmt.Appendf(nil,
		`{"cniVersion":"1.1.0","name":"sluice","plugins":[{"type":"sluice-cni","socket":%q}]}`, n.socket()))
	if err != nil {
		return err
	}
	var adds times
	for i := range nodePods {
		rc, err := n.newPod(ctx, i)
		if err != nil {
			return err
		}
		var result types.Result
		took, err := clock(func() (err error) { result, err = cni.AddNetworkList(ctx, list, rc); return err })
		if err != nil {
			return err
		}
		adds = append(adds, took)
		if err := n.setAddress(ctx, i, result); err != nil {
			return err
		}
	}
	after, err := n.ask.Status(ctx)
	if err != nil {
		return err
	}
	const of = "a veth pair with address and route, by a process too"
	r.latencies("CNI ADD, plugin process included", adds, bare, of)
	r.against(fmt.Sprintf("the first %d of them, p50", nodePods/10), seconds(adds[:nodePods/10].percentile(50)), seconds(bare.percentile(50)), "the same")
	r.against(fmt.Sprintf("the last %d of them, p50", nodePods/10), seconds(adds[len(adds)-nodePods/10:].percentile(50)), seconds(bare.percentile(50)), "the same")
	r.against("bundles committed for them", count(after.Bundles-before.Bundles), count(nodePods), "pods")
	return nil
}

// addBare makes a veth pair into a new namespace by a process, takes the time of
// that process, and deletes the pair.
func (n *node) addBare(ctx context.Context, name string) (time.Duration, error) {
	netns, err := n.newNetns(name)
	if err != nil {
		return 0, err
	}
	took, err := clock(func() error {
		out, err := exec.CommandContext(ctx, n.path("veth"), netns, name, "192.0.2.2", "192.0.2.1").CombinedOutput()
		if err != nil {
			return fmt.Errorf("veth: %w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	return took, netlink.LinkDel(link)
}

// newPod creates the i-th pod and its namespace.
func (n *node) newPod(ctx context.Context, i int) (*libcni.RuntimeConf, error) {
	name := fmt.Sprintf("pod%d", i)
	pod, err := n.api.CreatePod(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: benchNamespace, Name: name, Labels: appLabels(i)},
		Spec:       corev1.PodSpec{NodeName: nodeName},
	})
	if err != nil {
		return nil, err
	}
	netns, err := n.newNetns(name)
	if err != nil {
		return nil, err
	}
	return &libcni.RuntimeConf{ContainerID: "sandbox-" + name, NetNS: netns, IfName: "eth0", Args: [][2]string{
		{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", benchNamespace}, {"K8S_POD_NAME", name}, {"K8S_POD_UID", string(pod.UID)},
	}}, nil
}

// setAddress reports a pod's address as a kubelet does.
func (n *node) setAddress(ctx context.Context, i int, result types.Result) error {
	got, err := types100.GetResult(result)
	if err != nil {
		return err
	}
	addr, _ := netip.AddrFromSlice(got.IPs[0].Address.IP)
	return n.api.SetPodStatus(ctx, benchNamespace, fmt.Sprintf("pod%d", i), corev1.PodRunning, addr.Unmap())
}

// newNetns makes a network namespace and returns its path. It is gone at the
// latest with this process's mount namespace.
func (n *node) newNetns(name string) (string, error) {
	path := filepath.Join(n.dir, "netns-"+name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return "", err
	}
	failed := make(chan error)
	go func() {
		// A thread that has been in another namespace is not given back.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		return "", fmt.Errorf("make network namespace %s: %w", name, err)
	}
	n.netns = append(n.netns, path)
	return path, nil
}
