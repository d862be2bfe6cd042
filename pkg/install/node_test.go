package install

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/route"
	"github.com/sluice-cni/sluice/test/need"
)

const timeout = 60 * time.Second

// onNode runs the test again in network and mount namespaces of its own, which
// are the node that it may change. It returns true in there.
func onNode(t *testing.T) bool {
	t.Helper()
	const inside = "SLUICE_TEST_NODE"
	if os.Getenv(inside) == t.Name() {
		// What is mounted here is to stay here.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	need.Root(t)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	return false
}

func TestSysctlsOfTheNetworkBecomeWritableAndNoOthers(t *testing.T) {
	if !onNode(t) {
		return
	}
	// As a container runtime does.
	if err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	const forward, other = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/hostname"
	if err := os.WriteFile(forward, []byte("1"), 0); !errors.Is(err, unix.EROFS) {
		t.Fatalf("before: %v, want that it is read-only", err)
	}
	for range 2 {
		if err := WritableSysctls(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(forward, []byte("1"), 0); err != nil {
		t.Error(err)
	}
	if f, err := os.OpenFile(other, os.O_WRONLY, 0); err == nil {
		f.Close()
		t.Errorf("%s can be written", other)
	}
	mounts := strings.Count(read(t, "/proc/self/mountinfo"), " /proc/sys/net ")
	if mounts != 1 {
		t.Errorf("%d mounts at /proc/sys/net, want one", mounts)
	}
}

func TestCleanupLeavesNothingOfSluiceAndAllElse(t *testing.T) {
	if !onNode(t) {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	ovs := sandboxtest.Start(t, sandbox.Netdev)
	for k, v := range map[string]string{"OVS_RUNDIR": ovs.RunDir()} {
		t.Setenv(k, v)
	}
	cfg := config.Default()
	cfg.OVSDB, cfg.OVSRunDir, cfg.Socket = ovs.Endpoint(), ovs.RunDir(), filepath.Join(t.TempDir(), "agent.sock")

	db, err := vsdb.Dial(ctx, vsdb.Config{Endpoint: cfg.OVSDB})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, b := range []vsdb.Bridge{{Name: cfg.Bridge, Gateway: cfg.Gateway}, {Name: "br-other", Gateway: "other0"}} {
		b.DatapathType = vsdb.DatapathNetdev
		if err := db.EnsureBridge(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	gateway := route.Gateway{Name: cfg.Gateway, Addrs: []netip.Prefix{netip.MustParsePrefix("10.244.1.1/24")}, MTU: 1400}
	if _, err := gateway.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	pod := wire.PortName("c", "eth0")
	for _, name := range []string{pod, "slow0", "sl-of-others"} {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name[:4]}); err != nil {
			t.Fatal(err)
		}
	}
	confDir, binDir := t.TempDir(), t.TempDir()
	c := Cleanup{
		Config:   cfg,
		ConfList: write(t, filepath.Join(confDir, "10-sluice.conflist"), "{}"),
		Plugin:   write(t, filepath.Join(binDir, PluginName), "x"),
	}
	var removed []string
	c.Removed = func(what string) { removed = append(removed, what) }

	// An agent would make everything anew.
	l, err := net.Listen("unix", cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(ctx); err == nil || !strings.Contains(err.Error(), "an agent answers at "+cfg.Socket) || len(removed) > 0 {
		t.Errorf("with an agent: %v, removed %q", err, removed)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as an agent that was killed
	l.Close()

	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	want := []string{"file " + c.ConfList, "bridge br-sluice", "interface " + pod, "file " + c.Plugin, "file " + cfg.Socket}
	if !slices.Equal(removed, want) {
		t.Errorf("removed %q, want %q", removed, want)
	}
	left := links(t)
	for _, name := range []string{cfg.Bridge, cfg.Gateway, pod} {
		if slices.Contains(left, name) {
			t.Errorf("interface %s is left", name)
		}
	}
	for _, name := range []string{"br-other", "other0", "slow0", "sl-of-others"} {
		if !slices.Contains(left, name) {
			t.Errorf("interface %s is gone", name)
		}
	}
	removed = nil
	if err := c.Run(ctx); err != nil || len(removed) > 0 {
		t.Errorf("the second time: %v, removed %q", err, removed)
	}
}

func links(t *testing.T) []string {
	t.Helper()
	all, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range all {
		names = append(names, l.Attrs().Name)
	}
	return names
}
