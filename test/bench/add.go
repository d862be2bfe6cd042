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
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// benchAdd attaches the node's pods, each known to the API server before, as a
// runtime does. Between two of them a bare veth pair is made the same way.
func (n *node) benchAdd(ctx context.Context, r *report) error {
	cni := libcni.NewCNIConfigWithCacheDir([]string{n.dir}, n.path("cache"), nil)
	list, err := libcni.ConfListFromBytes(fmt.Appendf(nil,
		`{"cniVersion":"1.1.0","name":"sluice","plugins":[{"type":"sluice-cni","socket":%q}]}`, n.socket()))
	if err != nil {
		return err
	}
	var adds, bare times
	for i := range nodePods {
		pod, err := n.api.CreatePod(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: benchNamespace, Name: fmt.Sprintf("pod%d", i), Labels: appLabels(i)},
			Spec:       corev1.PodSpec{NodeName: nodeName},
		})
		if err != nil {
			return err
		}
		netns, err := n.newNetns(fmt.Sprintf("pod%d", i))
		if err != nil {
			return err
		}
		rc := &libcni.RuntimeConf{ContainerID: "sandbox-" + pod.Name, NetNS: netns, IfName: "eth0", Args: [][2]string{
			{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", pod.Namespace}, {"K8S_POD_NAME", pod.Name}, {"K8S_POD_UID", string(pod.UID)},
		}}
		started := time.Now()
		result, err := cni.AddNetworkList(ctx, list, rc)
		if err != nil {
			return err
		}
		adds = append(adds, time.Since(started))
		got, err := types100.GetResult(result)
		if err != nil {
			return err
		}
		addr, _ := netip.AddrFromSlice(got.IPs[0].Address.IP)
		if err := n.api.SetPodStatus(ctx, pod.Namespace, pod.Name, corev1.PodRunning, addr.Unmap()); err != nil {
			return err
		}

		if netns, err = n.newNetns(fmt.Sprintf("bare%d", i)); err != nil {
			return err
		}
		took, err := clock(func() error {
			out, err := exec.CommandContext(ctx, n.path("veth"), netns, fmt.Sprintf("bare%d", i), "192.0.2.2", "192.0.2.1").CombinedOutput()
			if err != nil {
				return fmt.Errorf("veth: %w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			return err
		}
		bare = append(bare, took)
	}
	r.latencies("CNI ADD, plugin process included", adds, bare, "a veth pair with address and route, by a process too")
	return nil
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
