package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sluice-cni/sluice/test/need"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// only fails the test if a folder holds another entry than the given.
func only(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != name {
			t.Errorf("%s is left in %s", e.Name(), dir)
		}
	}
}

func TestPluginIsReplacedWhileItRuns(t *testing.T) {
	dir := t.TempDir()
	installed := filepath.Join(dir, PluginName)
	for _, want := range []bool{true, false} {
		if changed, err := Plugin(need.Tool(t, "sleep", "apt-get install coreutils"), dir); changed != want || err != nil {
			t.Fatalf("changed %v (%v), want %v", changed, err, want)
		}
	}
	running := exec.Command(installed, "60")
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = running.Process.Kill(), running.Wait() }()

	newer := write(t, filepath.Join(t.TempDir(), "newer"), "#!/bin/sh\n")
	if changed, err := Plugin(newer, dir); !changed || err != nil {
		t.Fatalf("changed %v: %v", changed, err)
	}
	if text := read(t, installed); text != "#!/bin/sh\n" {
		t.Errorf("installed %d bytes", len(text))
	}
	if info, err := os.Stat(installed); err != nil || info.Mode() != 0o755 {
		t.Errorf("installed with mode %v: %v", info.Mode(), err)
	}
	only(t, dir, PluginName)
}

func TestAModeThatIsWrongIsPutRight(t *testing.T) {
	dir := t.TempDir()
	source := write(t, filepath.Join(t.TempDir(), "plugin"), "x")
	write(t, filepath.Join(dir, PluginName), "x")
	if changed, err := Plugin(source, dir); !changed || err != nil {
		t.Errorf("changed %v: %v", changed, err)
	}
}

func TestAFolderThatIsMissingIsAnErrorThatNamesIt(t *testing.T) {
	source := write(t, filepath.Join(t.TempDir(), "plugin"), "x")
	if _, err := Plugin(source, "/nonexistent/bin"); err == nil {
		t.Error("no error")
	} else if want := "place /nonexistent/bin/sluice-cni: "; len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("error %q", err)
	}
}
