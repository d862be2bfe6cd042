package cluster

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// podManifest is a pod labelled by role, in namespace shop.
func podManifest(name, role string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: %s, labels: {role: %s}}\n---\n", name, role)
}

const guard = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: guard}
spec: {podSelector: {matchLabels: {role: db}}}
---
`

// write puts a file into the folder in one step, and the folders above it.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(dir, ".part")
	if err := os.WriteFile(part, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, path); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, dir, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// follow follows a folder that holds the files given as name and text.
func follow(t *testing.T, o FolderOptions, files ...string) (string, *recorder) {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		write(t, dir, files[i], files[i+1])
	}
	if o.Quiet == 0 {
		o.Quiet = 20 * time.Millisecond
	}
	r := record(t, NewFolderSource(dir, o))
	r.untilLine("synced")
	return dir, r
}

func TestFolderIsListedInOrderThenSynced(t *testing.T) {
	_, r := follow(t, FolderOptions{},
		"b/pods.yml", podManifest("web", "web")+podManifest("db", "db"),
		"a.yaml", guard+"apiVersion: v1\nkind: Namespace\nmetadata: {name: bank, labels: {team: a}}\n",
		"node.json", `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"podCIDRs": ["10.1.0.0/24"]}}`,
		"notes.txt", "not a manifest", ".hidden.yaml", "not: [read", ".git/x.yaml", "nor: [this")
	wantLines(t, r.take(), "Namespace bank", "Namespace shop", "Node n1", "NetworkPolicy shop/guard", "Pod shop/db", "Pod shop/web", "synced")
}

func TestFolderNamespacesCarryTheirName(t *testing.T) {
	_, r := follow(t, FolderOptions{}, "a.yaml", podManifest("web", "web")+
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: bank, labels: {team: a}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: x}\n")
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, want := range map[string]map[string]string{
		"shop":    {corev1.LabelMetadataName: "shop"},
		"default": {corev1.LabelMetadataName: "default"},
		"bank":    {corev1.LabelMetadataName: "bank", "team": "a"},
	} {
		namespace, _ := r.objects[identity{kindNamespace, Key{Name: name}}].(*Namespace)
		if namespace == nil {
			t.Errorf("namespace %s is missing", name)
		} else if diff := cmp.Diff(want, namespace.Labels); diff != "" {
			t.Errorf("labels of namespace %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFolderPodHasTheAddressesAndNodeOfItsManifest(t *testing.T) {
	_, r := follow(t, FolderOptions{Node: "here"}, "a.yaml", podManifest("web", "web")+
		"apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: db, uid: u1}\nspec: {nodeName: there}\nstatus: {podIPs: [{ip: 10.0.0.9}, {ip: 'fd00::9'}]}\n")
	if diff := cmp.Diff(&Pod{Key: Key{"shop", "web"}, Node: "here", Labels: map[string]string{"role": "web"}}, r.pod("shop", "web"), addrs); diff != "" {
		t.Errorf("pod web (-want +got):\n%s", diff)
	}
	want := &Pod{Key: Key{"shop", "db"}, UID: "u1", Node: "there", IPs: []netip.Addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::9")}}
	if diff := cmp.Diff(want, r.pod("shop", "db"), addrs); diff != "" {
		t.Errorf("pod db (-want +got):\n%s", diff)
	}
}

func TestFolderEmitsOnlyWhatChanges(t *testing.T) {
	dir, r := follow(t, FolderOptions{}, "a.yaml", podManifest("web", "web")+podManifest("db", "db"))
	r.take()

	write(t, dir, "a.yaml", "# a comment\n"+podManifest("db", "db")+podManifest("web", "api"))
	r.untilLine("Pod")
	wantLines(t, r.take(), "Pod shop/web")
	if role := r.pod("shop", "web").Labels["role"]; role != "api" {
		t.Errorf("role of web is %q, want api", role)
	}

	write(t, dir, "sub/deep/guard.yaml", guard)
	r.untilLine("NetworkPolicy")
	wantLines(t, r.take(), "NetworkPolicy shop/guard")

	write(t, dir, "sub/deep/guard.yaml", strings.Replace(guard, "role: db", "role: web", 1))
	r.untilLine("NetworkPolicy")
	wantLines(t, r.take(), "NetworkPolicy shop/guard")

	remove(t, dir, "sub")
	r.untilLine("deleted")
	wantLines(t, r.take(), "deleted NetworkPolicy shop/guard")

	remove(t, dir, "a.yaml")
	r.untilLine("deleted Namespace")
	wantLines(t, r.take(), "deleted Pod shop/web", "deleted Pod shop/db", "deleted Namespace shop")
}

func TestFolderFollowsFilesThatAreReplacedOrRenamed(t *testing.T) {
	dir, r := follow(t, FolderOptions{}, "a.yaml", podManifest("web", "web"))
	r.take()

	// What an editor does to save: write beside, then rename over.
	write(t, dir, ".a.yaml.swp", podManifest("web", "api"))
	rename(t, dir, ".a.yaml.swp", "a.yaml")
	r.untilLine("Pod")
	wantLines(t, r.take(), "Pod shop/web")

	// A file by another name is the same manifest: nothing to emit but what comes
	// with it.
	rename(t, dir, "a.yaml", "b.yaml")
	write(t, dir, "c.yaml", podManifest("db", "db"))
	r.untilLine("Pod shop/db")
	wantLines(t, r.take(), "Pod shop/db")

	// So is one in a subfolder that comes into being with it.
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	rename(t, dir, "b.yaml", "sub/b.yaml")
	write(t, dir, "sub/b.yaml", podManifest("web", "front"))
	r.until("the new label", func() bool {
		pod, _ := r.objects[identity{kindPod, Key{"shop", "web"}}].(*Pod)
		return pod != nil && pod.Labels["role"] == "front"
	})

	rename(t, dir, "c.yaml", "c.yaml.off")
	r.untilLine("deleted Pod shop/db")
}

func TestFolderWaitsUntilAFileIsWritten(t *testing.T) {
	dir, r := follow(t, FolderOptions{Quiet: time.Second}, "a.yaml", podManifest("web", "web")+podManifest("db", "db"))
	r.take()
	f, err := os.Create(filepath.Join(dir, "a.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, pod := range []string{podManifest("web", "web"), podManifest("db", "api")} {
		if _, err := f.WriteString(pod); err != nil {
			t.Fatal(err)
		}
	}
	r.untilLine("Pod")
	wantLines(t, r.take(), "Pod shop/db")
}

func TestFolderKeepsTheLastGoodVersionOfABrokenObject(t *testing.T) {
	dir, r := follow(t, FolderOptions{}, "a.yaml", guard+podManifest("web", "web"))
	r.take()

	// An unknown field: the policy stays, the pod beside it changes.
	write(t, dir, "a.yaml", strings.Replace(guard, "podSelector", "podselector", 1)+podManifest("web", "api"))
	r.untilLine("Pod")
	wantLines(t, r.take(), "problem "+filepath.Join(dir, "a.yaml")+`: document 1: NetworkPolicy shop/guard: unknown field "spec.podselector"`, "Pod shop/web")

	// No YAML at all: nothing is known of what the document meant, so all stays.
	write(t, dir, "a.yaml", "{"+guard+podManifest("db", "db"))
	r.untilLine("Pod shop/db")
	wantLines(t, r.take(), "problem "+filepath.Join(dir, "a.yaml")+": document 1: yaml: ", "Pod shop/db")

	// Broken and moved to another file.
	write(t, dir, "b.yaml", strings.Replace(guard, "spec:", "spek:", 1)+podManifest("web", "api")+podManifest("db", "db"))
	remove(t, dir, "a.yaml")
	write(t, dir, "c.yaml", podManifest("last", "last"))
	r.untilLine("Pod shop/last")
	for _, l := range r.take() {
		if strings.HasPrefix(l, "deleted") {
			t.Errorf("a broken file that moved lost something: %s", l)
		}
	}

	// Mended as it was: nothing has changed. Taken out: gone.
	write(t, dir, "b.yaml", guard+podManifest("web", "api")+podManifest("db", "api"))
	r.untilLine("Pod shop/db")
	wantLines(t, r.take(), "Pod shop/db")
	write(t, dir, "b.yaml", podManifest("web", "api"))
	r.untilLine("deleted Pod")
	r.untilLine("deleted NetworkPolicy")
}

func TestFolderRefusesWhatWouldNotBeAPod(t *testing.T) {
	_, r := follow(t, FolderOptions{}, "a.yaml", podManifest("web", "web")+
		"apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: db}\nstatus: {podIPs: [{ip: 10.0.0}]}\n")
	lines := r.take()
	if !strings.Contains(lines[0], "document 2: Pod shop/db: ") || !strings.Contains(lines[0], "status.podIPs[0].ip") {
		t.Errorf("the problem %q does not name document, object and field", lines[0])
	}
	wantLines(t, lines[1:], "Namespace shop", "Pod shop/web", "synced")
}

func TestFolderBoundsFiles(t *testing.T) {
	dir, r := follow(t, FolderOptions{MaxFileBytes: 1000, MaxFiles: 2}, "a.yaml", podManifest("web", "web"))
	r.take()

	write(t, dir, "a.yaml", podManifest("web", "web")+strings.Repeat("#", 1000))
	r.untilLine("problem")
	wantLines(t, r.take(), "problem "+filepath.Join(dir, "a.yaml")+": larger than 1000 bytes")

	write(t, dir, "a.yaml", podManifest("web", "web"))
	write(t, dir, "b.yaml", podManifest("b", "b"))
	r.untilLine("Pod shop/b")
	r.take()
	write(t, dir, "c.yaml", podManifest("c", "c"))
	r.untilLine("problem")
	wantLines(t, r.take(), "problem "+dir+": more than 2 manifest files")
	remove(t, dir, "b.yaml")
	r.untilLine("Pod shop/c")
	wantLines(t, r.take(), "deleted Pod shop/b", "Pod shop/c")
}

func TestFolderReadsNoPipe(t *testing.T) {
	dir, r := follow(t, FolderOptions{})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"pipe": "a.yaml", "nowhere": "b.yaml"} {
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, ".data/c.yaml", podManifest("web", "web"))
	if err := os.Symlink(".data/c.yaml", filepath.Join(dir, "c.yaml")); err != nil {
		t.Fatal(err)
	}
	r.untilLine("Pod shop/web")
	for _, l := range r.take() {
		if strings.Contains(l, "a.yaml") {
			t.Errorf("the pipe was read: %s", l)
		}
	}
}

func TestFolderOutOfReachLosesNothing(t *testing.T) {
	dir, r := follow(t, FolderOptions{Rescan: 50 * time.Millisecond}, "sub/a.yaml", podManifest("web", "web"))
	r.take()
	rename(t, filepath.Dir(dir), filepath.Base(dir), "elsewhere")
	r.untilLine("problem")
	wantLines(t, r.take(), "problem read folder: open "+dir)
	write(t, dir, "sub/a.yaml", podManifest("web", "api"))
	r.untilLine("Pod")
	wantLines(t, r.take(), "Pod shop/web")
}

func TestFolderSaysOnceWhichKindsItIgnores(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {namespace: shop, name: web}\n---\n"
	dir, r := follow(t, FolderOptions{}, "a.yaml", secret+secret, "b.yaml", secret)
	wantLines(t, r.take(), "problem "+filepath.Join(dir, "a.yaml")+": document 1: Secret of \"v1\" is not read here", "synced")
	write(t, dir, "c.yaml", secret+podManifest("web", "web"))
	r.untilLine("Pod")
	wantLines(t, r.take(), "Namespace shop", "Pod shop/web")
}

func TestFolderNamesBothPlacesOfADuplicate(t *testing.T) {
	dir, r := follow(t, FolderOptions{}, "a.yaml", podManifest("web", "first"), "b.yaml", podManifest("web", "second"))
	want := fmt.Sprintf("problem %s: document 1: Pod shop/web: declared already in %s: document 1, which counts",
		filepath.Join(dir, "b.yaml"), filepath.Join(dir, "a.yaml"))
	wantLines(t, r.take(), want, "Namespace shop", "Pod shop/web", "synced")
	if role := r.pod("shop", "web").Labels["role"]; role != "first" {
		t.Errorf("the pod of %s file counts", role)
	}
	remove(t, dir, "a.yaml")
	r.untilLine("Pod shop/web")
}

func TestFolderAnnouncesAPodThatTakesAnothersPlace(t *testing.T) {
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: web, uid: %s}\n"
	dir, r := follow(t, FolderOptions{}, "a.yaml", fmt.Sprintf(pod, "u1"))
	r.take()
	write(t, dir, "a.yaml", fmt.Sprintf(pod, "u2"))
	r.untilLine("Pod")
	wantLines(t, r.take(), "deleted Pod shop/web", "Pod shop/web")
}

func TestFolderThatDoesNotExist(t *testing.T) {
	for _, err := range []error{
		NewFolderSource("/no/such/folder", FolderOptions{}).Run(t.Context(), func([]Event) { t.Error("emitted") }),
		func() error { _, err := ReadFolder("/no/such/folder", FolderOptions{}); return err }(),
	} {
		wantError(t, err, "read manifests: stat /no/such/folder: no such file or directory")
	}
}

func TestReadFolderReadsASingleFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", podManifest("web", "web"))
	write(t, dir, "b.yaml", podManifest("db", "db"))
	events, err := ReadFolder(filepath.Join(dir, "a.yaml"), FolderOptions{})
	wantError(t, err, "")
	var lines []string
	for _, e := range events {
		lines = append(lines, line(e))
	}
	wantLines(t, lines, "Namespace shop", "Pod shop/web", "synced")
}
