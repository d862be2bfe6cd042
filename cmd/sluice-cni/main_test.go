package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/pkg/testutils"

	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/test/need"
)

// What the plugin does with an agent is tested in pkg/cni.

// plugin is the built binary.
var plugin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice-cni")
	if err != nil {
		panic(err)
	}
	plugin = filepath.Join(dir, "sluice-cni")
	build := exec.Command("go", "build", "-o", plugin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	code := 1
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// invoke runs the plugin for container "c" with interface eth0. It returns what
// the plugin printed, and the error in that if the plugin failed.
func invoke(t *testing.T, command, config string) (string, *types.Error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), plugin)
	cmd.Env = []string{
		"CNI_COMMAND=" + command, "CNI_CONTAINERID=c", "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/none", "CNI_PATH=" + filepath.Dir(plugin),
	}
	cmd.Stdin = strings.NewReader(config)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	var e types.Error
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || json.Unmarshal(out, &e) != nil {
		t.Fatalf("%s: %v, printed %q and %q", command, err, out, stderr.String())
	}
	return string(out), &e
}

func config(socket, more string) string {
	return fmt.Sprintf(`{"cniVersion":"1.1.0","name":"sluice","type":"sluice-cni","socket":%q%s}`, socket, more)
}

func TestWithoutAnAgentEachCommandSaysWhatToDo(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	for command, code := range map[string]uint{
		"ADD":    types.ErrTryAgainLater,
		"CHECK":  types.ErrTryAgainLater,
		"GC":     types.ErrTryAgainLater,
		"STATUS": types.ErrPluginNotAvailable,
	} {
		more := ""
		if command == "GC" {
			more = `,"cni.dev/valid-attachments":[]`
		}
		out, err := invoke(t, command, config(socket, more))
		if err == nil || err.Code != code || !strings.Contains(err.Msg, "cannot reach sluice-agent at "+socket) {
			t.Errorf("%s: printed %s", command, out)
		}
	}
	if out, err := invoke(t, "VERSION", `{"cniVersion":"1.1.0"}`); err != nil || !strings.Contains(out, `"1.1.0"]`) {
		t.Errorf("VERSION: printed %s", out)
	}
}

// attach makes the link of container "c".
func attach(t *testing.T) (link string) {
	t.Helper()
	need.Root(t)
	netns, err := testutils.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	l := &podlink.Link{
		Host: wire.PortName("c", "eth0"), Pod: "eth0", MTU: 1500, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
		Addrs: []netip.Addr{netip.MustParseAddr("10.244.1.5")},
	}
	t.Cleanup(func() {
		if err := errors.Join(podlink.Delete(l.Host), netns.Close(), testutils.UnmountNS(netns)); err != nil {
			t.Error(err)
		}
	})
	if err := l.Create(netns); err != nil {
		t.Fatal(err)
	}
	return l.Host
}

func TestDelWithoutAnAgentDeletesTheLink(t *testing.T) {
	link := attach(t)
	socket := filepath.Join(t.TempDir(), "agent.sock")
	for range 2 { // the second finds no link
		if out, err := invoke(t, "DEL", config(socket, "")); err != nil {
			t.Fatalf("DEL: printed %s", out)
		}
		if there, err := podlink.Exists(link); there || err != nil {
			t.Errorf("link %s exists: %v (%v)", link, there, err)
		}
	}
}

func TestDelOfAnAgentThatHangsIsTriedAgain(t *testing.T) {
	link := attach(t)
	socket := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.Listen("unix", socket) // accepts nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, failed := invoke(t, "DEL", config(socket, `,"requestTimeout":"1s"`))
	if failed == nil || failed.Code != types.ErrTryAgainLater || !strings.Contains(failed.Msg, "gave no answer within 1s") {
		t.Errorf("DEL: printed %s", out)
	}
	if there, err := podlink.Exists(link); !there || err != nil {
		t.Errorf("link %s exists: %v (%v): the agent may be at work on it", link, there, err)
	}
}

func TestAMalformedConfigIsRefusedWithoutAnAgent(t *testing.T) {
	for _, command := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
		out, err := invoke(t, command, `{"cniVersion":"1.1.0","name":"sluice","socket":"agent.sock"}`)
		if err == nil || err.Code != types.ErrInvalidNetworkConfig || !strings.Contains(err.Msg, `socket: "agent.sock" is not an absolute path`) {
			t.Errorf("%s: printed %s", command, out)
		}
	}
}

// Hosts have different C libraries, or none.
func TestBinaryIsStatic(t *testing.T) {
	f, err := elf.Open(plugin)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the plugin needs a dynamic linker")
		}
	}
}
