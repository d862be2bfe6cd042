package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// workloadManifest is a workload of namespace shop whose pods are labelled role=web.
func workloadManifest(kind, more string) string {
	return "apiVersion: apps/v1\nkind: " + kind + "\nmetadata: {namespace: shop, name: web}\nspec:\n" +
		"  selector: {matchLabels: {role: web}}\n" +
		"  template:\n    metadata: {labels: {role: web}}\n" +
		"    spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}\n" + more + "\n---\n"
}

func TestWorkloadsStandForTheirPods(t *testing.T) {
	for _, test := range []struct {
		name, manifest string
		want           []string
	}{
		{"a Deployment's replicas", workloadManifest("Deployment", "  replicas: 2"), []string{"Namespace shop", "Pod shop/web-0", "Pod shop/web-1"}},
		{"one where none are said", workloadManifest("ReplicaSet", ""), []string{"Namespace shop", "Pod shop/web-0"}},
		{"one for a DaemonSet", workloadManifest("DaemonSet", ""), []string{"Namespace shop", "Pod shop/web-0"}},
		{"none of none", workloadManifest("StatefulSet", "  replicas: 0"), nil},
		{"pods that are there stand for themselves", workloadManifest("Deployment", "  replicas: 2") + podManifest("web-abc", "web"),
			[]string{"Namespace shop", "Pod shop/web-abc"}},
		{"a pod of that name that is another's", workloadManifest("Deployment", "  replicas: 2") + podManifest("web-1", "db"),
			[]string{"problem f.yaml: document 1: Deployment shop/web: its Pod shop/web-1 exists already", "Namespace shop", "Pod shop/web-0", "Pod shop/web-1"}},
		{"what a Deployment makes itself is not counted twice",
			strings.Replace(workloadManifest("ReplicaSet", ""), "name: web}", "name: web, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: u, controller: true}]}", 1), nil},
		{"too many", workloadManifest("Deployment", "  replicas: 1000000"), []string{"problem f.yaml: document 1: Deployment shop/web: spec.replicas: 1000000 is not between 0 and 1000"}},
		{"a selector that misses", strings.Replace(workloadManifest("Deployment", ""), "role: web", "role: db", 1),
			[]string{"problem f.yaml: document 1: Deployment shop/web: spec.template.metadata.labels: not selected"}},
		{"a selector of all", strings.Replace(workloadManifest("StatefulSet", ""), "{matchLabels: {role: web}}", "{}", 1),
			[]string{"problem f.yaml: document 1: StatefulSet shop/web: spec.selector: must not be empty"}},
		{"a template with a bad port", strings.Replace(workloadManifest("Deployment", ""), "8080", "80800", 1),
			[]string{"problem f.yaml: document 1: Deployment shop/web: spec.template: Pod shop/web: spec.containers[0].ports[0].containerPort"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			write(t, ".", "f.yaml", test.manifest)
			events, err := ReadFolder(".", FolderOptions{})
			wantError(t, err, "")
			var lines []string
			for _, e := range events {
				lines = append(lines, line(e))
			}
			wantLines(t, lines, append(test.want, "synced")...)
		})
	}
}

func TestWorkloadPodsCarryWhatTheTemplateSays(t *testing.T) {
	_, r := follow(t, FolderOptions{Node: "here"}, "a.yaml", workloadManifest("StatefulSet", "  replicas: 2"))
	want := &Pod{Key: Key{"shop", "web-1"}, Node: "here", Ports: []NamedPort{{"http", "TCP", 8080}},
		Labels: map[string]string{"role": "web", "statefulset.kubernetes.io/pod-name": "web-1", "apps.kubernetes.io/pod-index": "1"}}
	if diff := cmp.Diff(want, r.pod("shop", "web-1"), addrs); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
}

func TestWorkloadScales(t *testing.T) {
	dir, r := follow(t, FolderOptions{}, "a.yaml", workloadManifest("Deployment", "  replicas: 2"))
	r.take()
	write(t, dir, "a.yaml", workloadManifest("Deployment", "  replicas: 1"))
	r.untilLine("deleted")
	wantLines(t, r.take(), "deleted Pod shop/web-1")
}
