package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/test/need"
)

func TestOutputStatusAndFilesAreTheCommandsOwn(t *testing.T) {
	if inMachine() {
		t.Skip("this test is about booting the machine")
	}
	need.Tool(t, "qemu-system-x86_64", "build/deps.sh kernel")
	if _, err := findLinux(); err != nil {
		need.Missing(t, err.Error())
	}
	dir := t.TempDir()
	kernel := filepath.Join(dir, "kernel")
	build := exec.Command("go", "build", "-o", kernel, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "given"), []byte("from the host"), 0o600); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(kernel, "-timeout", "3m", "sh", "-c", `cat given; echo " $GREETING"; echo "to stderr" >&2; touch made; exit 7`)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GREETING=hello")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("it ended with %v, want exit status 7", err)
	}
	if want := "from the host hello\nto stderr\n"; string(out) != want {
		t.Errorf("output %q, want %q", out, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file made in the machine is here: %v", err)
	}
}

func TestMissingKernelSaysHowToGetIt(t *testing.T) {
	t.Setenv("SLUICE_CACHE", t.TempDir())
	if _, err := findLinux(); err == nil || !strings.Contains(err.Error(), "build/deps.sh kernel") {
		t.Errorf("find a kernel that is not there: %v", err)
	}
}

// inMachine tells whether the test runs under the other kernel.
func inMachine() bool { return os.Getenv("SLUICE_KERNEL") != "" }
