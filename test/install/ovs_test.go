package install

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/test/need"
)

// container runs a script of the image of Open vSwitch as its container does: the
// folder of the database is where it looks for it. before runs first, in the same
// namespaces.
const container = `
mount -t tmpfs tmpfs /run && mkdir /run/openvswitch && mount --bind "$1" /run/openvswitch
mount -t sysfs sysfs /sys
ip link set lo up
eval "$3"
exec sh "$2"
`

func startScript(t *testing.T, s *sandbox.Sandbox, script, before string, env ...string) (stop func()) {
	t.Helper()
	need.Root(t)
	path, err := filepath.Abs("../../build/image/files/usr/bin/" + script)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--net", "--mount", "sh", "-e", "-c", container, "sh", s.RunDir(), path, before)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()                          // by a signal
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s:\n%s", script, text)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestOpenVSwitchWaitsForItsFlowsForAWhileIfTheKernelForwards(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	s := sandboxtest.Start(t, sandbox.Dummy)
	if err := s.StopVswitchd(ctx); err != nil {
		t.Fatal(err)
	}
	db, err := vsdb.Dial(ctx, vsdb.Config{Endpoint: s.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	is := func(want vsdb.Restore) {
		t.Helper()
		for {
			got, err := db.Restore(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got == want {
				return
			}
			if _, err := db.NextRestore(ctx, got); err != nil {
				t.Fatalf("ovs-vswitchd waits for %v, want %v: %v", got, want, err)
			}
		}
	}

	stop := startScript(t, s, "run-ovs-vswitchd", "ip link add ovs-system type veth", "FLOW_RESTORE_WAIT=2")
	is(vsdb.RestoreOwn)
	for ctx.Err() == nil { // it may still be the script
		if pid, err := os.ReadFile(filepath.Join(s.RunDir(), "ovs-vswitchd.pid")); err == nil && len(pid) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	// What ends the wait must not hold the lock that the next one waits for.
	if out, err := exec.CommandContext(ctx, "flock", "--timeout", "1", filepath.Join(s.RunDir(), "ovs-vswitchd.lock"), "true").CombinedOutput(); err != nil {
		t.Errorf("the lock is not free when ovs-vswitchd has ended: %v\n%s", err, out)
	}
	is(vsdb.RestoreNone) // by itself

	// Without a datapath in the kernel there is nothing to wait with.
	sandboxtest.Run(t, s, "ovs-vsctl", "--no-wait", "set", "Open_vSwitch", ".",
		"other_config:flow-restore-wait=true", "external_ids:"+vsdb.IDRestore+"=true")
	stop = startScript(t, s, "run-ovs-vswitchd", "")
	is(vsdb.RestoreNone)
	stop()
	if left := strings.TrimSpace(sandboxtest.Run(t, s, "ovs-vsctl", "--no-wait", "get", "Open_vSwitch", ".", "other_config")); left != "{}" {
		t.Errorf("other_config is %s", left)
	}
}
