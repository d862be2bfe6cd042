package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/install"
)

// installed writes the files of a ConfigMap to a folder, as the kubelet does.
func installed(t *testing.T, m *corev1.ConfigMap) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range m.Data {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheAgentTakesItsConfiguration(t *testing.T) {
	each(t, func(t *testing.T, m *corev1.ConfigMap) {
		c, err := config.Load(filepath.Join(installed(t, m), "agent.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	})
}

// The two libraries a runtime may have differ in which version they choose.
func TestRuntimesOldAndNewTakeTheNetworkConfiguration(t *testing.T) {
	each(t, func(t *testing.T, m *corev1.ConfigMap) {
		dir := installed(t, m)
		if _, err := install.ReadConfList(filepath.Join(dir, "10-sluice.conflist")); err != nil {
			t.Error(err)
		}
		list, err := libcni.NetworkConfFromFile(filepath.Join(dir, "10-sluice.conflist"))
		if err != nil {
			t.Fatal(err)
		}
		// Status and GC, which nodes gain from, are of 1.1.
		if list.CNIVersion != "1.1.0" {
			t.Errorf("a library of today uses version %s", list.CNIVersion)
		}
		if !strings.Contains(m.Data["10-sluice.conflist"], `"cniVersion": "1.0.0"`) {
			t.Error("a library of before would use a version that it does not know")
		}
		c, err := config.Load(filepath.Join(dir, "agent.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if list.Name != c.Network {
			t.Errorf("network %q, and the agent serves %q", list.Name, c.Network)
		}
	})
}

// mounted finds where a container finds a folder of the node.
func mounted(d *appsv1.DaemonSet, container, hostPath string) string {
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.HostPath == nil || v.HostPath.Path != hostPath {
			continue
		}
		for _, c := range containers(d) {
			for _, m := range c.VolumeMounts {
				if c.Name == container && m.Name == v.Name {
					return m.MountPath
				}
			}
		}
	}
	return ""
}

// The plugin on the node and the agent in its container mean the same socket,
// and the agent's namespaces are where the runtime says they are.
func TestPathsMeanTheSameOnTheNodeAndInTheAgent(t *testing.T) {
	each(t, func(t *testing.T, d *appsv1.DaemonSet) {
		if !slices.ContainsFunc(containers(d), func(c corev1.Container) bool { return c.Name == "agent" }) {
			return
		}
		for _, dir := range []string{filepath.Dir(wire.DefaultSocket), "/run/netns"} {
			if at := mounted(d, "agent", dir); at != dir {
				t.Errorf("the node's %s is at %q", dir, at)
			}
		}
		defaults := config.Default()
		if defaults.Socket != wire.DefaultSocket {
			t.Errorf("the agent's socket is %s, and the plugin's %s", defaults.Socket, wire.DefaultSocket)
		}
	})
}

func TestProbesAskWhereTheAgentAnswers(t *testing.T) {
	each(t, func(t *testing.T, d *appsv1.DaemonSet) {
		for _, c := range containers(d) {
			if c.Name != "agent" {
				continue
			}
			for name, p := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
				if p == nil || p.HTTPGet == nil {
					t.Errorf("no %s probe", name)
					continue
				}
				if at := p.HTTPGet.Host + ":" + p.HTTPGet.Port.String(); at != config.Default().HealthAddress {
					t.Errorf("the %s probe asks %s, and the agent answers at %s", name, at, config.Default().HealthAddress)
				}
			}
		}
	})
}
