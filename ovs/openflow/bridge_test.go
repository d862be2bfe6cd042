package openflow

import (
	"context"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

const (
	bridgeName  = "br-test"
	testTimeout = time.Minute
)

// testBridge starts a sandbox with a bridge that has ports 1 and 2.
func testBridge(t testing.TB) (*Bridge, *sandbox.Sandbox) {
	t.Helper()
	s := sandboxtest.Start(t, sandbox.Dummy)
	sandboxtest.Run(t, s, "ovs-vsctl", "--db="+s.Endpoint(),
		"--", "add-br", bridgeName,
		"--", "set", "bridge", bridgeName, "datapath_type=dummy", "fail_mode=secure",
		"protocols=OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15",
		"--", "add-port", bridgeName, "p1", "--", "set", "interface", "p1", "type=dummy", "ofport_request=1",
		"--", "add-port", bridgeName, "p2", "--", "set", "interface", "p2", "type=dummy", "ofport_request=2")
	b, err := Open(Config{Target: bridgeName, RunDir: s.RunDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return b, s
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}
