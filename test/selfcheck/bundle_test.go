package selfcheck

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// unpack reads a support bundle: the text of each file, and the manifest.
func unpack(t *testing.T, path string) (files map[string]string, m api.Manifest) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for in := tar.NewReader(zipped); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "sluice-support/")] = string(text)
	}
	if err := json.Unmarshal([]byte(files[api.ManifestName]), &m); err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files {
		if len(files[f.Name]) != f.Bytes {
			t.Errorf("%s has %d bytes, the manifest says %d", f.Name, len(files[f.Name]), f.Bytes)
		}
		if f.Error != "" && f.Name != "flows/differences.txt" {
			t.Logf("%s: %s", f.Name, f.Error)
		}
	}
	return files, m
}

// bundle holds that a bundle has what a bug report needs and no secret, and that
// a redacted one names nothing.
func bundle(t *testing.T, n *node) {
	db := n.port(t, "db")
	sandboxtest.Run(t, n.OVS, "ovs-vsctl", "set", "interface", db.Name, "options:psk=tops3cret")
	defer sandboxtest.Run(t, n.OVS, "ovs-vsctl", "remove", "interface", db.Name, "options", "psk")
	path := filepath.Join(t.TempDir(), "whole.tar.gz")
	if code, out := n.sluice(t, "support-bundle", "-f", path); code != 0 || !strings.Contains(out, "Wrote "+path) {
		t.Errorf("exit code %d: %s", code, out)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if code, _ := n.sluice(t, "support-bundle", "-f", path); code != 1 {
		t.Errorf("over a file that is there: exit code %d", code)
	}
	files, m := unpack(t, path)
	if m.Node != "node0" || m.Redacted || m.Version == "" {
		t.Errorf("manifest %+v", m)
	}
	for name, want := range map[string]string{
		"check.json": `"name": "flows"`, "status.json": `"node0"`, "ports.json": "shop/db", "policies.json": "shop/db-guard", "rules.json": "NetworkPolicy/shop/db-guard/ingress/0",
		"flows/desired.txt": "# IngressDefault ingress-isolation/", "flows/actual.txt": "n_packets=", "ovs/database.json": "sluice-pod-name",
		"ovs/dpif-show.txt": "br-sluice", "ovs/conntrack.txt": "zone=65520", "ovs/coverage.txt": "", "ovs/memory.txt": "rules:",
		"agent/config.yaml": "bridge: br-sluice", "agent/goroutines.txt": "goroutine profile", "agent/metrics.txt": "sluice_ready 1",
		"versions.txt": "ovs-vswitchd (Open vSwitch)", "host/links.txt": "sluice0", "host/addresses.txt": "10.244.0.1/24", "host/routes.txt": "10.244.0.0/24",
		"host/nftables.txt": "table inet sluice", "host/sysctls.txt": "net/ipv4/ip_forward = 1", "cni/files.txt": n.list,
	} {
		if !strings.Contains(files[name], want) || files[name] == "" {
			t.Errorf("%s has no %q:\n%.500s", name, want, files[name])
		}
	}
	for name, text := range files {
		if strings.Contains(text, "tops3cret") {
			t.Errorf("%s has a secret", name)
		}
	}

	path = filepath.Join(t.TempDir(), "redacted.tar.gz")
	if code, out := n.sluice(t, "support-bundle", "--redact", "-f", path); code != 0 || !strings.Contains(out, "replaced") {
		t.Errorf("exit code %d: %s", code, out)
	}
	files, m = unpack(t, path)
	if !m.Redacted {
		t.Error("the manifest does not say that it is redacted")
	}
	for name, text := range files {
		for _, p := range n.pods { // a runtime's ids are random, the bed's are not
			text = strings.ReplaceAll(text, p.ContainerID, "")
		}
		for _, secret := range append(db.Addrs, db.MAC, "10.244.0.", "fd00:10:244", "203.0.113.", "shop", "db-guard", "node0") {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s tells of %s: …%s…", name, secret, text[max(0, at-40):min(len(text), at+40)])
			}
		}
		if strings.HasSuffix(name, ".json") && !json.Valid([]byte(text)) {
			t.Errorf("%s is no JSON any more", name)
		}
	}
	// The same one by the same: a port's addresses are those of its flows.
	var ports []api.Port
	if err := json.Unmarshal([]byte(files["ports.json"]), &ports); err != nil {
		t.Fatal(err)
	}
	for _, p := range ports {
		if p.OFPort == db.OFPort && !strings.Contains(files["flows/actual.txt"], fmt.Sprintf("arp_spa=%s,dl_src=%s,in_port=%d", p.Addrs[0], p.MAC, p.OFPort)) {
			t.Errorf("no flow of port %+v in\n%.2000s", p, files["flows/actual.txt"])
		}
	}
}

// withoutAgent holds that a bundle of a node whose agent has ended has what there
// is.
func withoutAgent(t *testing.T, n *node) {
	dir := t.TempDir()
	path, cfg := filepath.Join(dir, "x.tar.gz"), filepath.Join(dir, "agent.yaml")
	write(t, cfg, fmt.Sprintf("apiVersion: agent.sluice.dev/v1alpha1\nkind: AgentConfiguration\novsRunDir: %s\novsdb: %s\n", n.OVS.RunDir(), n.OVS.Endpoint()))
	if code, _ := n.sluice(t, "support-bundle", "--redact", "--config", cfg, "-f", path); code != 1 {
		t.Errorf("--redact without an agent: exit code %d", code)
	}
	if code, out := n.sluice(t, "support-bundle", "--config", cfg, "-f", path); code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	files, _ := unpack(t, path)
	if !strings.Contains(files["ovs/dpif-show.txt"], "br-sluice") || files["host/links.txt"] == "" {
		t.Errorf("what there is: %.300q, %.300q", files["ovs/dpif-show.txt"], files["host/links.txt"])
	}
}
