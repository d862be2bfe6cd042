package unixctl_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/unixctl"
)

func TestCallsMayRunSideBySide(t *testing.T) {
	c := sandboxtest.Start(t, sandbox.Dummy).Vswitchd()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if out, err := c.Call(t.Context(), "version"); err != nil || !strings.HasPrefix(out, "ovs-vswitchd (Open vSwitch)") {
				t.Errorf("version: %q, %v", out, err)
			}
		})
	}
	wg.Wait()
}

func TestRefusalCarriesTheDaemonsText(t *testing.T) {
	c := sandboxtest.Start(t, sandbox.Dummy).Vswitchd()
	for _, tc := range []struct {
		method string
		args   []string
		want   string
	}{
		{"no/such-command", nil, `"no/such-command" is not a valid command`},
		{"fdb/show", []string{"br9"}, "no such bridge"},
		{"version", []string{"surplus"}, `takes at most 0 arguments`},
	} {
		_, err := c.Call(t.Context(), tc.method, tc.args...)
		var refused *unixctl.CommandError
		if !errors.As(err, &refused) || refused.Method != tc.method || !strings.Contains(refused.Text, tc.want) || strings.HasSuffix(refused.Text, "\n") {
			t.Errorf("%s: error %v", tc.method, err)
		}
	}
}

func TestLongAnswerArrivesWhole(t *testing.T) {
	const n = 2000
	s := sandboxtest.Start(t, sandbox.Dummy)
	sandboxtest.Run(t, s, "ovs-vsctl", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy")
	var flows strings.Builder
	for port := range n {
		fmt.Fprintf(&flows, "table=1,udp,tp_dst=%d,actions=drop\n", port+1)
	}
	sandboxtest.RunInput(t, s, flows.String(), "ovs-ofctl", "add-flows", "br0", "-")
	out, err := s.Vswitchd().Call(t.Context(), "bridge/dump-flows", "br0")
	if got := strings.Count(out, "udp,tp_dst="); err != nil || got != n {
		t.Errorf("%d flows of %d in %d bytes, error %v", got, n, len(out), err)
	}
}

func TestStoppedDaemonIsAnErrorAndComesBack(t *testing.T) {
	s := sandboxtest.Start(t, sandbox.Dummy)
	c := s.Vswitchd()
	if err := s.StopVswitchd(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.Call(t.Context(), "version")
	var refused *unixctl.CommandError
	if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "call version on "+s.VswitchdCtl()) {
		t.Errorf("error %v", err)
	}
	if err := s.StartVswitchd(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), "version"); err != nil {
		t.Error(err)
	}
}

func TestFindNeedsARunningDaemon(t *testing.T) {
	dir := t.TempDir()
	if _, err := unixctl.Find(dir, "ovs-vswitchd"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a pid file: %v", err)
	}
	for text, want := range map[string]string{"12x\n": `holds "12x\n"`, "4194305\n": "ovs-vswitchd.4194305.ctl"} {
		if err := os.WriteFile(filepath.Join(dir, "ovs-vswitchd.pid"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := unixctl.Find(dir, "ovs-vswitchd"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("pid file %q: %v", text, err)
		}
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	c := sandboxtest.Start(t, sandbox.Dummy).Vswitchd()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Call(ctx, "version"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
