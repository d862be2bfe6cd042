package selfcheck

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/cli"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/bed/bedtest"
	"github.com/sluice-cni/sluice/test/need"
)

// The policies let role=api and one network outside reach the database, by name
// and by number, and keep other from sending anything but one range.
const manifests = `
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: api, labels: {role: api}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: other, labels: {app: other}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db-guard}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from:
    - podSelector: {matchLabels: {role: api}}
    - ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}
    - ipBlock: {cidr: "2001:db8:113::/48"}
    ports:
    - port: sql
    - {protocol: UDP, port: 5432}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: other-out}
spec:
  podSelector: {matchLabels: {app: other}}
  policyTypes: [Egress]
  egress: [{ports: [{port: 8000, endPort: 8010}]}]
`

// soon is how long is waited for what is to happen.
const soon = 20 * time.Second

// node is a bed with three pods, as an installed node is.
type node struct {
	*bed.Bed
	pods          map[string]*bed.Pod
	confDir, list string
	bin           string
}

func newNode(t *testing.T) *node {
	t.Helper()
	need.Root(t)
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	dir := t.TempDir()
	n := &node{pods: map[string]*bed.Pod{}, confDir: filepath.Join(dir, "net.d"), bin: os.Getenv(bed.BinEnv)}
	n.list = filepath.Join(n.confDir, "10-sluice.conflist")
	if n.bin == "" {
		n.bin = filepath.Join(dir, "bin")
		if err := os.Mkdir(n.bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := bed.Build(t.Context(), n.bin); err != nil {
			t.Fatal(err)
		}
	}
	objects := filepath.Join(dir, "manifests")
	for _, d := range []string{n.confDir, objects} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(objects, "all.yaml"), manifests)
	n.Bed = bedtest.Start(t, bed.Options{
		Manifests: objects, Bin: n.bin, Outside: []netip.Addr{netip.MustParseAddr("203.0.113.10")},
		AgentArgs: []string{"--cni-conf-dir=" + n.confDir, "--cni-bin-dir=" + n.bin},
	})
	write(t, n.list, fmt.Sprintf(`{"cniVersion":"1.0.0","name":"sluice","plugins":[{"type":"sluice-cni","socket":%q}]}`, n.Socket()))
	for _, name := range []string{"db", "api", "other"} {
		p, err := n.AddPod(t.Context(), "shop", name, "")
		if err != nil {
			t.Fatal(err)
		}
		n.pods[name] = p
	}
	eventually(t, "the pods' policies to be known", func() error {
		ports, err := n.Client().Ports(t.Context())
		for _, p := range ports {
			if p.State == "pending" {
				return fmt.Errorf("port of %s is pending", p.Pod)
			}
		}
		return err
	})
	return n
}

// port returns the name of a pod's port.
func (n *node) port(t *testing.T, pod string) api.Port {
	t.Helper()
	ports, err := n.Client().Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(ports, func(p api.Port) bool { return p.Pod == "shop/"+pod })
	if at < 0 {
		t.Fatalf("no port of shop/%s", pod)
	}
	return ports[at]
}

// sluice runs the command and returns its exit code and what it prints.
func (n *node) sluice(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code = cli.Run(ctx, append([]string{"sluice", "--socket", n.Socket()}, args...), cli.Streams{Out: &stdout, Err: &stderr})
	if stderr.Len() > 0 {
		t.Logf("sluice %s: %s", strings.Join(args, " "), stderr.String())
	}
	return code, stdout.String()
}

// checks runs sluice check and returns the checks by name.
func (n *node) checks(t *testing.T, args ...string) (code int, by map[string]api.Check) {
	t.Helper()
	code, out := n.sluice(t, append([]string{"check", "-o", "json"}, args...)...)
	var report api.CheckReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	by = map[string]api.Check{}
	for _, c := range report.Checks {
		by[c.Name] = c
	}
	return code, by
}

// verdicts runs sluice check --policies.
func (n *node) verdicts(t *testing.T, args ...string) (code int, report api.VerdictReport) {
	t.Helper()
	code, out := n.sluice(t, append([]string{"check", "--policies", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return code, report
}

// found runs one check again until it is as wanted and says what it should: what
// the agent puts right at once has to be broken again each time.
func (n *node) found(t *testing.T, breakIt func(), name, status, text string) {
	t.Helper()
	eventually(t, name+" to say "+text, func() error {
		breakIt()
		code, by := n.checks(t, "--only", name)
		c := by[name]
		all := strings.Join(append(c.Details, c.Message), "\n")
		if c.Status != status || !strings.Contains(all, text) || c.Hint == "" || (code == 1) != (status == api.CheckFail) {
			return fmt.Errorf("exit code %d, %+v", code, c)
		}
		return nil
	})
}

// mended waits until a check is well again.
func (n *node) mended(t *testing.T, name string) {
	t.Helper()
	eventually(t, name+" to be well again", func() error {
		if code, by := n.checks(t, "--only", name); code != 0 || by[name].Status != api.CheckOK {
			return fmt.Errorf("exit code %d, %+v", code, by[name])
		}
		return nil
	})
}

func (n *node) ofctl(t *testing.T, args ...string) string {
	t.Helper()
	return sandboxtest.Run(t, n.OVS, "ovs-ofctl", append([]string{"-O", "OpenFlow15"}, args...)...)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(soon)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s: %v", soon, what, err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
}
