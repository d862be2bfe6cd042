package vsdb

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

// timeout bounds what a test waits for; on an idle machine it takes
// milliseconds.
const timeout = 30 * time.Second

var testBridge = Bridge{
	Name:       "br-sluice",
	Gateway:    "sluice0",
	GatewayMAC: net.HardwareAddr{0x0a, 0x58, 10, 1, 0, 1},
	Tables:     map[uint8]string{0: "Classifier", 2: "Conntrack", 14: "Output"},
	Prefixes:   map[uint8][]string{2: {"nw_dst", "nw_src", "ipv6_dst"}},
}

// open starts a sandbox and connects to its database.
func open(t *testing.T, datapath string) (*sandbox.Sandbox, *DB) {
	t.Helper()
	s := sandboxtest.Start(t, datapath)
	return s, dial(t, s)
}

func dial(t *testing.T, s *sandbox.Sandbox) *DB {
	t.Helper()
	db, err := Dial(within(t, timeout), Config{Endpoint: s.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// ensured starts a sandbox with the test bridge.
func ensured(t *testing.T, datapath string) (*sandbox.Sandbox, *DB) {
	t.Helper()
	s, db := open(t, datapath)
	b := testBridge
	b.DatapathType = datapath
	if err := db.EnsureBridge(within(t, timeout), b); err != nil {
		t.Fatal(err)
	}
	return s, db
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// pod returns the port of the n-th pod.
func pod(n int) PortSpec {
	a, b := byte(n>>8), byte(n)
	return PortSpec{
		Bridge: "br-sluice",
		Name:   fmt.Sprintf("sl%013x", n),
		Type:   "dummy",
		Attachment: Attachment{
			PodNamespace: "shop",
			PodName:      fmt.Sprintf("db-%d", n),
			PodUID:       fmt.Sprintf("3f2b1c2e-0000-4000-8000-%012x", n),
			ContainerID:  fmt.Sprintf("c%d", n),
			IfName:       "eth0",
			Netns:        fmt.Sprintf("/var/run/netns/cni-%d", n),
			MAC:          net.HardwareAddr{0x0a, 0x58, 10, 1, a, b},
			Addrs: []netip.Addr{
				netip.AddrFrom4([4]byte{10, 1, a, b}),
				netip.AddrFrom16([16]byte{0: 0xfd, 14: a, 15: b}),
			},
		},
	}
}

func add(t *testing.T, db *DB, spec PortSpec) Port {
	t.Helper()
	port, err := db.AddPort(within(t, timeout), spec)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func ports(t *testing.T, db *DB) []Port {
	t.Helper()
	list, err := db.Ports(within(t, timeout))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// vsctl runs ovs-vsctl on the sandbox.
func vsctl(t *testing.T, s *sandbox.Sandbox, args ...string) string {
	t.Helper()
	return sandboxtest.Run(t, s, "ovs-vsctl", args...)
}
