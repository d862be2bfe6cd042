// Package sandboxtest gives a test a sandbox: a private Open vSwitch that ends
// with the test.
package sandboxtest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/test/need"
)

// timeout bounds a start and each run of a tool. A start takes about 0.1 s on an
// idle machine, but with the kernel's datapath it waits for the machine to be up
// for 12 s.
const timeout = 30 * time.Second

// Install tells how to get Open vSwitch.
const Install = "apt-get install openvswitch-switch"

// Start starts a sandbox with the given datapath (sandbox.Dummy, Netdev or
// System) and closes it when the test ends. A failed test's log ends with the
// warnings of ovs-vswitchd.
func Start(t testing.TB, datapath string) *sandbox.Sandbox {
	t.Helper()
	need.Tool(t, "ovs-vswitchd", Install)
	need.Tool(t, "ovsdb-server", Install)
	if datapath != sandbox.Dummy {
		need.Root(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s, err := sandbox.Start(ctx, sandbox.Options{Datapath: datapath})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logWarnings(t, s)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func logWarnings(t testing.TB, s *sandbox.Sandbox) {
	text, err := os.ReadFile(filepath.Join(s.RunDir(), "ovs-vswitchd.log"))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "|WARN|") || strings.Contains(line, "|ERR|") || strings.Contains(line, "|EMER|") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// Run runs an Open vSwitch tool on the sandbox and returns what it prints:
// Run(t, s, "ovs-vsctl", "add-br", "br0"). The test fails if the tool does.
func Run(t testing.TB, s *sandbox.Sandbox, name string, args ...string) string {
	t.Helper()
	return RunInput(t, s, "", name, args...)
}

// RunInput is Run with a standard input, such as flows for
// "ovs-ofctl add-flows br0 -".
func RunInput(t testing.TB, s *sandbox.Sandbox, input, name string, args ...string) string {
	t.Helper()
	path := need.Tool(t, name, Install)
	// Not t.Context: that has ended when the test's cleanups run.
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = s.Env()
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}
