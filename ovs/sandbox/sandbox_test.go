package sandbox_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/test/need"
)

func TestToolsWorkOnTheSandbox(t *testing.T) {
	s := sandboxtest.Start(t, sandbox.Dummy)
	sandboxtest.Run(t, s, "ovs-vsctl", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy",
		"--", "add-port", "br0", "p1", "--", "set", "interface", "p1", "type=dummy", "ofport_request=7")
	sandboxtest.RunInput(t, s, "table=3,in_port=7,actions=drop\n", "ovs-ofctl", "add-flows", "br0", "-")
	if out := sandboxtest.Run(t, s, "ovs-ofctl", "dump-flows", "br0", "table=3"); !strings.Contains(out, "in_port=7 actions=drop") {
		t.Errorf("flows: %s", out)
	}
	if out := sandboxtest.Run(t, s, "ovs-appctl", "-t", "ovs-vswitchd", "dpif/show"); !strings.Contains(out, "p1 7/") {
		t.Errorf("dpif/show: %s", out)
	}
	found, err := unixctl.Find(s.RunDir(), "ovs-vswitchd")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unixctl.New(found).Call(t.Context(), "version"); err != nil {
		t.Error(err)
	}
}

func TestBridgesAreThereWhenVswitchdHasRestarted(t *testing.T) {
	for _, datapath := range []string{sandbox.Dummy, sandbox.Netdev} {
		t.Run(datapath, func(t *testing.T) {
			s := sandboxtest.Start(t, datapath)
			sandboxtest.Run(t, s, "ovs-vsctl", "add-br", "br-sbx0", "--", "set", "bridge", "br-sbx0", "datapath_type="+datapath)
			if err := s.StopVswitchd(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Vswitchd().Call(t.Context(), "version"); err == nil {
				t.Error("a stopped ovs-vswitchd answers")
			}
			if err := s.StartVswitchd(t.Context()); err != nil {
				t.Fatal(err)
			}
			if out := sandboxtest.Run(t, s, "ovs-ofctl", "show", "br-sbx0"); !strings.Contains(out, "LOCAL(br-sbx0)") {
				t.Errorf("ovs-ofctl show: %s", out)
			}
		})
	}
}

func TestVswitchdOutlivesTheDatabase(t *testing.T) {
	s := sandboxtest.Start(t, sandbox.Dummy)
	sandboxtest.Run(t, s, "ovs-vsctl", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy")
	if err := s.StopDB(t.Context()); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("unix", strings.TrimPrefix(s.Endpoint(), "unix:")); err == nil {
		conn.Close()
		t.Error("a stopped database accepts connections")
	}
	if _, err := s.Vswitchd().Call(t.Context(), "ofproto/trace", "br0", "in_port=LOCAL"); err != nil {
		t.Errorf("the bridge is gone with the database: %v", err)
	}
	if err := s.StartDB(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := sandboxtest.Run(t, s, "ovs-vsctl", "list-br"); out != "br0\n" {
		t.Errorf("bridges: %q", out)
	}
	sandboxtest.Run(t, s, "ovs-ofctl", "show", "br0")
}

func TestCloseEndsDaemonsAndRemovesTheFolder(t *testing.T) {
	s := sandboxtest.Start(t, sandbox.Dummy)
	pids := []int{pid(t, s, "ovsdb-server"), pid(t, s, "ovs-vswitchd")}
	for range 2 { // the second does nothing
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d after Close: %v", pid, err)
		}
	}
	if _, err := os.Stat(s.RunDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder after Close: %v", err)
	}
	if err := s.StartVswitchd(t.Context()); err == nil {
		t.Error("a closed sandbox starts ovs-vswitchd")
	}
}

func TestCloseTakesBridgesOffTheMachine(t *testing.T) {
	s := sandboxtest.Start(t, sandbox.Netdev)
	sandboxtest.Run(t, s, "ovs-vsctl", "add-br", "br-sbx1", "--", "set", "bridge", "br-sbx1", "datapath_type=netdev")
	if _, err := net.InterfaceByName("br-sbx1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.InterfaceByName("br-sbx1"); err == nil {
		t.Error("br-sbx1 is still there")
	}
}

func TestGivenFolderKeepsItsDatabase(t *testing.T) {
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	dir, err := os.MkdirTemp("/tmp", "sluice-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for i, want := range []string{"", "br0\n"} {
		s, err := sandbox.Start(t.Context(), sandbox.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if out := sandboxtest.Run(t, s, "ovs-vsctl", "list-br"); out != want {
			t.Errorf("bridges of start %d: %q, want %q", i, out, want)
		}
		sandboxtest.Run(t, s, "ovs-vsctl", "--may-exist", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDaemonThatDiesIsStartedAnew(t *testing.T) {
	s := sandboxtest.Start(t, sandbox.Dummy)
	before := pid(t, s, "ovs-vswitchd")
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(before, 0) == nil { // until it is reaped
		if time.Now().After(deadline) {
			t.Fatal("ovs-vswitchd survives SIGKILL")
		}
		time.Sleep(time.Millisecond)
	}
	if err := s.StartVswitchd(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := pid(t, s, "ovs-vswitchd"); after == before {
		t.Errorf("process id is still %d", after)
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts sandbox.Options
		want string
	}{
		{"datapath", sandbox.Options{Datapath: "dpdk"}, `datapath "dpdk" is none of`},
		{"long folder", sandbox.Options{Dir: "/tmp/" + strings.Repeat("x", 90)}, "sockets in it allow for at most 82"},
		{"folder is a file", sandbox.Options{Dir: "/dev/null"}, "/dev/null"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := sandbox.Start(t.Context(), tc.opts); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	dir, err := os.MkdirTemp("/tmp", "sluice-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "conf.db"), []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = sandbox.Start(t.Context(), sandbox.Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "ovsdb-server ended: exit status 1") {
		t.Errorf("error %v", err)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sandbox.Start(ctx, sandbox.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestDaemonsDieWithTheirParent runs this test binary once more as the parent.
func TestDaemonsDieWithTheirParent(t *testing.T) {
	if dir := os.Getenv("SANDBOX_TEST_PARENT"); dir != "" {
		if _, err := sandbox.Start(t.Context(), sandbox.Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		os.Exit(0) // without Close
	}
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	dir, err := os.MkdirTemp("/tmp", "sluice-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	parent := exec.Command(os.Args[0], "-test.run=^TestDaemonsDieWithTheirParent$")
	parent.Env = append(os.Environ(), "SANDBOX_TEST_PARENT="+dir)
	if out, err := parent.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, name := range []string{"ovsdb-server", "ovs-vswitchd"} {
		ctl := unixctl.New(filepath.Join(dir, map[string]string{"ovsdb-server": "ovsdb-server.ctl", "ovs-vswitchd": "vswitchd.ctl"}[name]))
		for {
			if _, err := ctl.Call(t.Context(), "version"); err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s outlives its parent", name)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func pid(t *testing.T, s *sandbox.Sandbox, daemon string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.RunDir(), daemon+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
