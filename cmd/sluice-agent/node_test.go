package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// execute runs the command with arguments and returns what it prints.
func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestInstallCNICopiesThePluginOnce(t *testing.T) {
	dir, plugin := t.TempDir(), filepath.Join(t.TempDir(), "built")
	if err := os.WriteFile(plugin, []byte("plugin"), 0o700); err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(dir, "sluice-cni")
	for _, want := range []string{" installed\n", " was there already\n"} {
		out, err := execute(t, "install-cni", "--plugin="+plugin, "--bin-dir="+dir)
		if err != nil || out != installed+want {
			t.Errorf("printed %q (%v), want %q", out, err, installed+want)
		}
	}
	if text, err := os.ReadFile(installed); err != nil || string(text) != "plugin" {
		t.Errorf("installed %q: %v", text, err)
	}
}

func TestABadConfigurationIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	dir := t.TempDir()
	conflist := filepath.Join(dir, "10-sluice.conflist")
	if err := os.WriteFile(conflist, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"cleanup", "--cni-conf-dir=" + dir, "--cni-bin-dir=" + dir}, {}} {
		_, err := execute(t, append(args, "--mtu=1")...)
		if err == nil || !strings.Contains(err.Error(), "mtu") {
			t.Errorf("%q: error %v", args, err)
		}
	}
	if _, err := os.Stat(conflist); err != nil {
		t.Error(err)
	}
}
