package cni

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// runtime is a container runtime that has the bed's network configured.
type runtime struct {
	*bed
	cni  *libcni.CNIConfig
	list *libcni.NetworkConfigList
}

// newRuntime builds the plugin and configures it.
func newRuntime(b *bed, cniVersion string) runtime {
	b.t.Helper()
	dir := b.t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "sluice-cni"), "../../cmd/sluice-cni")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	r := runtime{bed: b, cni: libcni.NewCNIConfigWithCacheDir([]string{dir}, b.t.TempDir(), nil)}
	r.configure(cniVersion)
	return r
}

func (r *runtime) configure(cniVersion string) {
	r.t.Helper()
	list, err := libcni.ConfListFromBytes(fmt.Appendf(nil,
		`{"cniVersion":%q,"name":"sluice","plugins":[{"type":"sluice-cni","socket":%q,"requestTimeout":"20s"}]}`, cniVersion, r.socket))
	if err != nil {
		r.t.Fatal(err)
	}
	r.list = list
}

func (r *runtime) attachment(pod string, netns ns.NetNS) *libcni.RuntimeConf {
	rc := &libcni.RuntimeConf{
		ContainerID: "sandbox-of-" + pod,
		NetNS:       netns.Path(),
		IfName:      "eth0",
		Args:        [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "shop"}, {"K8S_POD_NAME", pod}, {"K8S_POD_UID", "uid"}},
	}
	r.t.Cleanup(func() { podlink.Delete(wire.PortName(rc.ContainerID, rc.IfName)) })
	return rc
}

func TestPluginLivesThroughEveryCommandOfARuntime(t *testing.T) {
	b := newBed(t)
	r := newRuntime(b, "1.1.0")
	netns := newNetns(t)
	rc := r.attachment("web", netns)

	if err := r.cni.GetStatusNetworkList(b.ctx(), r.list); err != nil {
		t.Fatal(err)
	}
	result, err := r.cni.AddNetworkList(b.ctx(), r.list, rc)
	if err != nil {
		t.Fatal(err)
	}
	got, err := types100.GetResult(result)
	if err != nil || len(got.IPs) != 2 || got.Interfaces[1].Sandbox != netns.Path() {
		t.Errorf("ADD returned %v (%v)", result, err)
	}
	if err := r.cni.CheckNetworkList(b.ctx(), r.list, rc); err != nil {
		t.Error(err)
	}
	inPod(t, netns, netlink.LinkSetDown)
	if err := r.cni.CheckNetworkList(b.ctx(), r.list, rc); code(err) != wire.CodeNotAsAdded {
		t.Errorf("CHECK of a link that is down returned %v", err)
	}
	valid := []types.GCAttachment{{ContainerID: rc.ContainerID, IfName: rc.IfName}}
	if err := r.cni.GCNetworkList(b.ctx(), r.list, &libcni.GCArgs{ValidAttachments: valid}); err != nil {
		t.Error(err)
	}
	if port, err := b.server.find(b.ctx(), wire.PortName(rc.ContainerID, rc.IfName)); port == nil || err != nil {
		t.Errorf("GC removed a valid attachment (%v)", err)
	}
	for range 2 {
		if err := r.cni.DelNetworkList(b.ctx(), r.list, rc); err != nil {
			t.Error(err)
		}
	}
	b.expectNothing(request("web", netns))
	if _, err := r.cni.AddNetworkList(b.ctx(), r.list, rc); err != nil {
		t.Fatal(err)
	}
	if err := r.cni.GCNetworkList(b.ctx(), r.list, &libcni.GCArgs{}); err != nil {
		t.Error(err)
	}
	b.expectNothing(request("web", netns))
}

func TestPluginAnswersInEveryVersion(t *testing.T) {
	b := newBed(t)
	r := newRuntime(b, "1.1.0")
	info, err := r.cni.GetVersionInfo(b.ctx(), "sluice-cni")
	if err != nil || !slices.Equal(info.SupportedVersions(), version.All.SupportedVersions()) {
		t.Fatalf("VERSION returned %v (%v)", info, err)
	}
	rc := r.attachment("web", newNetns(t))
	for _, v := range info.SupportedVersions() {
		r.configure(v)
		result, err := r.cni.AddNetworkList(b.ctx(), r.list, rc)
		if err != nil || result.Version() != v {
			t.Errorf("version %s: ADD returned %v (%v)", v, result, err)
			continue
		}
		if err := r.cni.DelNetworkList(b.ctx(), r.list, rc); err != nil {
			t.Errorf("version %s: %v", v, err)
		}
	}
}

func TestPluginReportsTheAgentsErrors(t *testing.T) {
	b := newBed(t)
	r := newRuntime(b, "1.1.0")
	rc := r.attachment("web", newNetns(t))
	rc.NetNS = "/run/netns/none"
	if _, err := r.cni.AddNetworkList(b.ctx(), r.list, rc); code(err) != types.ErrInvalidNetNS || !strings.Contains(err.Error(), "CNI_NETNS") {
		t.Errorf("ADD without a namespace returned %v", err)
	}
	b.enforcer.fail(nil, nil, errors.New("policies are not listed yet"))
	if err := r.cni.GetStatusNetworkList(b.ctx(), r.list); code(err) != types.ErrPluginNotAvailable {
		t.Errorf("STATUS returned %v", err)
	}
}

// A pod that is deleted while no agent runs is cut off at once, and forgotten
// when the next agent starts.
func TestDelWithoutAnAgentIsFinishedByTheNext(t *testing.T) {
	b := newBed(t)
	r := newRuntime(b, "1.1.0")
	rc := r.attachment("web", newNetns(t))
	if _, err := r.cni.AddNetworkList(b.ctx(), r.list, rc); err != nil {
		t.Fatal(err)
	}
	gone := *b
	gone.socket = filepath.Join(t.TempDir(), "none")
	r.bed = &gone
	r.configure("1.1.0")
	if err := r.cni.DelNetworkList(b.ctx(), r.list, rc); err != nil {
		t.Fatal(err)
	}
	req := request("web", nil)
	b.expectNoLink(req)
	if err := NewServer(b.server.cfg).Reconcile(b.ctx()); err != nil {
		t.Fatal(err)
	}
	b.expectNothing(req)
}

// code returns the CNI code of an error, 0 if it has none.
func code(err error) uint {
	var e *types.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// BenchmarkAdd times ADD as a runtime sees it, the start of the plugin included.
// The percentiles are over b.N: run it with -benchtime 100x.
func BenchmarkAdd(b *testing.B) {
	r := newRuntime(newBed(b), "1.1.0")
	pods := make([]*libcni.RuntimeConf, b.N)
	for i := range pods {
		pods[i] = r.attachment(fmt.Sprintf("pod-%d", i), newNetns(b))
	}
	var took []time.Duration
	b.ResetTimer()
	for _, pod := range pods {
		started := time.Now()
		if _, err := r.cni.AddNetworkList(r.ctx(), r.list, pod); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(started))
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	for _, pod := range pods {
		if err := r.cni.DelNetworkList(r.ctx(), r.list, pod); err != nil {
			b.Fatal(err)
		}
	}
}
