package vsdb

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/ovs/sandbox"
)

func TestTunnelPortComesChangesAndGoes(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	b := testBridge
	ensure := func() BridgeState {
		t.Helper()
		if err := db.EnsureBridge(within(t, timeout), b); err != nil {
			t.Fatal(err)
		}
		state, err := db.Bridge(within(t, timeout), b.Name)
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	if state := ensure(); state.Tunnel != "" || state.TunnelOFPort != 0 {
		t.Errorf("there is a tunnel that nobody asked for: %+v", state)
	}
	b.Tunnel = &Tunnel{Name: "sluice-tun", Type: "geneve"}
	state := ensure()
	if state.Tunnel != "sluice-tun" || state.TunnelOFPort == 0 {
		t.Errorf("no tunnel: %+v", state)
	}
	if got := strings.TrimSpace(vsctl(t, s, "get", "interface", "sluice-tun", "type", "options:remote_ip", "options:local_ip")); got != "geneve\nflow\nflow" {
		t.Errorf("the interface is %q", got)
	}
	if list := ports(t, db); len(list) != 0 {
		t.Errorf("the tunnel counts as a pod's port: %+v", list)
	}
	writes := db.writes.Load()
	if ensure(); db.writes.Load() != writes {
		t.Error("a second time writes")
	}
	b.Tunnel = &Tunnel{Name: "sluice-tun", Type: "vxlan"}
	ensure()
	if got := strings.TrimSpace(vsctl(t, s, "get", "interface", "sluice-tun", "type")); got != "vxlan" {
		t.Errorf("the interface's type is %q, want vxlan", got)
	}
	b.Tunnel = nil
	if state := ensure(); state.Tunnel != "" {
		t.Errorf("the tunnel has stayed: %+v", state)
	}
	b.Tunnel = &Tunnel{Name: "sluice-tun", Type: "gre"}
	if err := db.EnsureBridge(within(t, timeout), b); err == nil || !strings.Contains(err.Error(), "Tunnel.Type") {
		t.Errorf("type gre: %v", err)
	}
}
