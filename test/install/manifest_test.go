// Package install tests what `kubectl apply` installs: that every manifest is one
// the API server takes, that what is in it fits the agent, and that it asks for
// no more than docs/install.md explains.
package install

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// manifest is a file of build/manifests.
type manifest struct {
	file    string
	objects []runtime.Object
}

// manifests reads all of them, strictly: a field that Kubernetes does not know,
// or that is there twice, is an error.
func manifests(t *testing.T) []manifest {
	t.Helper()
	files, err := filepath.Glob("../../build/manifests/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var all []manifest
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := manifest{file: filepath.Base(path)}
		documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
		for buffer := make([]byte, len(text)+1); ; {
			n, err := documents.Read(buffer)
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if strings.TrimLeft(string(buffer[:n]), "# \n") == "" || !bytes.Contains(buffer[:n], []byte("apiVersion")) {
				continue // the comment at the top
			}
			o, _, err := decoder.Decode(buffer[:n], nil, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", path, err, buffer[:n])
			}
			m.objects = append(m.objects, o)
		}
		all = append(all, m)
	}
	return all
}

// each calls f for each object of a kind in all manifests.
func each[T runtime.Object](t *testing.T, f func(t *testing.T, o T)) {
	t.Helper()
	var n int
	for _, m := range manifests(t) {
		for _, o := range m.objects {
			if o, ok := o.(T); ok {
				n++
				t.Run(m.file, func(t *testing.T) { f(t, o) })
			}
		}
	}
	if n == 0 {
		t.Error("no manifest has one")
	}
}

func containers(d *appsv1.DaemonSet) []corev1.Container {
	return slices.Concat(d.Spec.Template.Spec.InitContainers, d.Spec.Template.Spec.Containers)
}

func TestEveryMountHasAVolumeAndEveryVolumeAMount(t *testing.T) {
	each(t, func(t *testing.T, d *appsv1.DaemonSet) {
		used := map[string]bool{}
		for _, c := range containers(d) {
			for _, m := range c.VolumeMounts {
				used[m.Name] = true
				if !slices.ContainsFunc(d.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
					t.Errorf("%s: container %s mounts %s, which is no volume", d.Name, c.Name, m.Name)
				}
			}
		}
		for _, v := range d.Spec.Template.Spec.Volumes {
			if !used[v.Name] {
				t.Errorf("%s: no container mounts volume %s", d.Name, v.Name)
			}
		}
	})
}

func TestContainersHaveNoMoreRightsThanTheyNeed(t *testing.T) {
	each(t, func(t *testing.T, d *appsv1.DaemonSet) {
		pod := d.Spec.Template.Spec
		if pod.HostPID || pod.HostIPC {
			t.Errorf("%s: has the node's processes", d.Name)
		}
		if p := pod.SecurityContext.SeccompProfile; p == nil || p.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: has not the runtime's seccomp profile", d.Name)
		}
		for _, c := range containers(d) {
			s := c.SecurityContext
			switch {
			case s == nil || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}):
				t.Errorf("%s: container %s keeps capabilities of the runtime's choice", d.Name, c.Name)
			case s.Privileged != nil:
				t.Errorf("%s: container %s is privileged", d.Name, c.Name)
			case s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation:
				t.Errorf("%s: container %s may gain rights", d.Name, c.Name)
			case s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem:
				t.Errorf("%s: container %s can write to its own files", d.Name, c.Name)
			}
		}
	})
}

func TestPodsAreThereBeforeAndAsLongAsOthers(t *testing.T) {
	each(t, func(t *testing.T, d *appsv1.DaemonSet) {
		pod := d.Spec.Template.Spec
		if pod.PriorityClassName != "system-node-critical" {
			t.Errorf("%s: priority class %q", d.Name, pod.PriorityClassName)
		}
		if !slices.Contains(pod.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists}) {
			t.Errorf("%s: does not tolerate every taint", d.Name)
		}
		if !pod.HostNetwork {
			t.Errorf("%s: needs a pod network to make one", d.Name)
		}
	})
}

// docs is the page that explains each right.
func docs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDocsExplainEachFolderAndCapability(t *testing.T) {
	page := docs(t)
	each(t, func(t *testing.T, d *appsv1.DaemonSet) {
		for _, v := range d.Spec.Template.Spec.Volumes {
			if v.HostPath != nil && !strings.Contains(page, "| `"+v.HostPath.Path+"`") {
				t.Errorf("%s: docs/install.md has no row for the node's folder %s", d.Name, v.HostPath.Path)
			}
		}
		for _, c := range containers(d) {
			for _, capability := range c.SecurityContext.Capabilities.Add {
				if row := "| `" + c.Name + "` | `" + string(capability) + "` |"; !strings.Contains(page, row) {
					t.Errorf("docs/install.md has no row %q", row)
				}
			}
		}
	})
}

func TestDocsNameEachManifest(t *testing.T) {
	page := docs(t)
	for _, m := range manifests(t) {
		if !strings.Contains(page, m.file) {
			t.Errorf("docs/install.md does not name %s", m.file)
		}
	}
}

func TestRolesAreBoundToTheAccountThatUsesThem(t *testing.T) {
	each(t, func(t *testing.T, b *rbacv1.ClusterRoleBinding) {
		want := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "sluice-agent", Namespace: "kube-system"}}
		if !slices.Equal(b.Subjects, want) || b.RoleRef.Kind != "ClusterRole" || b.RoleRef.Name != "sluice-agent" {
			t.Errorf("binds %v to %v", b.RoleRef, b.Subjects)
		}
	})
}
