package vsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
)

func TestEnsureBridgeMakesASecureBridge(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	for column, want := range map[string]string{
		"datapath_type": "dummy",
		"fail_mode":     "secure",
		"other_config":  `{disable-in-band="true"}`,
		"protocols":     "[OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, OpenFlow14, OpenFlow15]",
	} {
		if got := strings.TrimSpace(vsctl(t, s, "get", "bridge", "br-sluice", column)); got != want {
			t.Errorf("%s is %s, want %s", column, got, want)
		}
	}
	if got := vsctl(t, s, "list-ports", "br-sluice"); got != "sluice0\n" {
		t.Errorf("ports are %q", got)
	}
	if got := sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow15", "dump-flows", "br-sluice"); strings.Contains(got, "actions") {
		t.Errorf("a new bridge has flows:\n%s", got)
	}
	state, err := db.Bridge(within(t, timeout), "br-sluice")
	if err != nil {
		t.Fatal(err)
	}
	if state.Gateway != "sluice0" || state.GatewayOFPort == 0 || state.GatewayMAC.String() != "0a:58:0a:01:00:01" ||
		state.DatapathType != "dummy" || len(state.DatapathID) != 16 || state.UUID == "" {
		t.Errorf("state is %+v", state)
	}
	show := sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow15", "show", "br-sluice")
	if !strings.Contains(show, "(sluice0): addr:0a:58:0a:01:00:01") {
		t.Errorf("the gateway has not got its MAC:\n%s", show)
	}
	if list := ports(t, db); len(list) != 0 {
		t.Errorf("the gateway counts as a pod's port: %+v", list)
	}
}

func TestEnsureBridgeTwiceWritesOnce(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	writes := db.writes.Load()
	cfg := vsctl(t, s, "get", "open_vswitch", ".", "next_cfg")
	b := testBridge
	if err := db.EnsureBridge(within(t, timeout), b); err != nil {
		t.Fatal(err)
	}
	if n := db.writes.Load() - writes; n != 0 {
		t.Errorf("%d transactions for nothing", n)
	}
	if again := vsctl(t, s, "get", "open_vswitch", ".", "next_cfg"); again != cfg {
		t.Errorf("next_cfg went from %s to %s", cfg, again)
	}
}

func TestEnsureBridgeRepairsWhatDiffersAndKeepsTheRest(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	vsctl(t, s, "set-fail-mode", "br-sluice", "standalone")
	vsctl(t, s, "set", "bridge", "br-sluice", "other_config={mac-table-size=50}", "protocols=OpenFlow13",
		"external_ids:owner=somebody")
	vsctl(t, s, "clear", "bridge", "br-sluice", "flow_tables")
	vsctl(t, s, "set", "interface", "sluice0", `mac="0a:58:0a:01:00:09"`)
	vsctl(t, s, "clear", "port", "sluice0", "external_ids")
	if err := db.EnsureBridge(within(t, timeout), testBridge); err != nil {
		t.Fatal(err)
	}
	for column, want := range map[string]string{
		"fail_mode":    "secure",
		"other_config": `{disable-in-band="true", mac-table-size="50"}`,
		"protocols":    "[OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, OpenFlow14, OpenFlow15]",
		"external_ids": "{owner=somebody}",
	} {
		if got := strings.TrimSpace(vsctl(t, s, "get", "bridge", "br-sluice", column)); got != want {
			t.Errorf("%s is %s, want %s", column, got, want)
		}
	}
	state, err := db.Bridge(within(t, timeout), "br-sluice")
	if err != nil || state.GatewayMAC.String() != "0a:58:0a:01:00:01" || state.DatapathType != "dummy" {
		t.Errorf("state is %+v, %v", state, err)
	}
	if got := vsctl(t, s, "--columns=name", "--bare", "list", "flow_table"); strings.Count(got, "\n\n") != 2 {
		t.Errorf("flow tables are:\n%s", got)
	}
}

func TestTableNamesAndPrefixesReachOpenFlow(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	// The table statistics of later versions have no names.
	dump := func() string {
		return sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow10", "dump-tables", "br-sluice")
	}
	for _, want := range []string{`table 0 ("Classifier")`, `table 2 ("Conntrack")`, `table 14 ("Output")`} {
		if text := dump(); !strings.Contains(text, want) {
			t.Fatalf("no %s in:\n%s", want, text)
		}
	}
	sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow15", "add-flow", "br-sluice", "table=2,ip,actions=resubmit(,14)")
	flows := sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow15", "--names", "dump-flows", "br-sluice")
	if !strings.Contains(flows, "table=Conntrack") || !strings.Contains(flows, "resubmit(,Output)") {
		t.Errorf("flows have no table names: %s", flows)
	}
	prefixes := vsctl(t, s, "--columns=prefixes", "--bare", "find", "flow_table", "name=Conntrack")
	if prefixes != "ipv6_dst nw_dst nw_src\n" {
		t.Errorf("prefixes are %q", prefixes)
	}

	b := testBridge
	b.Tables = maps.Clone(b.Tables)
	delete(b.Tables, 14)
	b.Tables[2] = "Tracking"
	if err := db.EnsureBridge(within(t, timeout), b); err != nil {
		t.Fatal(err)
	}
	if text := dump(); !strings.Contains(text, `table 2 ("Tracking")`) || strings.Contains(text, "Output") {
		t.Errorf("tables kept their names:\n%s", text)
	}
}

func TestATableThatIsFullForgetsTheFlowThatRunsOutFirst(t *testing.T) {
	s, db := open(t, sandbox.Dummy)
	b := testBridge
	b.Limits = map[uint8]int{2: 2}
	if err := db.EnsureBridge(within(t, timeout), b); err != nil {
		t.Fatal(err)
	}
	if found, err := db.Compare(within(t, timeout), b); err != nil || len(found) > 0 {
		t.Errorf("it is not as it should be: %q, %v", found, err)
	}
	// The switch learns of each client, the first to be forgotten soonest.
	for i, seconds := range []int{100, 300, 200, 400} {
		sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow15", "add-flow", "br-sluice",
			fmt.Sprintf("ip,nw_src=10.0.0.%d,actions=learn(table=2,idle_timeout=%d,eth_type=0x800,NXM_OF_IP_SRC[])", i, seconds))
		sandboxtest.Run(t, s, "ovs-appctl", "ofproto/trace", "br-sluice", fmt.Sprintf("in_port=LOCAL,ip,nw_src=10.0.0.%d", i), "-generate")
	}
	learned := sandboxtest.Run(t, s, "ovs-ofctl", "-O", "OpenFlow15", "--no-stats", "dump-flows", "br-sluice", "table=2")
	for i, there := range []bool{false, true, false, true} {
		if strings.Contains(learned, fmt.Sprintf("nw_src=10.0.0.%d ", i)) != there {
			t.Errorf("10.0.0.%d: want it there: %v, in\n%s", i, there, learned)
		}
	}
	// One that has no limit any more.
	b.Limits = nil
	if found, err := db.Compare(within(t, timeout), b); err != nil || len(found) != 1 {
		t.Errorf("a limit that should not be there: %q, %v", found, err)
	}
	if err := db.EnsureBridge(within(t, timeout), b); err != nil {
		t.Fatal(err)
	}
	if limits := vsctl(t, s, "--columns=flow_limit", "--bare", "find", "flow_table", "name=Conntrack"); strings.TrimSpace(limits) != "" {
		t.Errorf("the limit is still %q", limits)
	}
}

func TestDatapathAndInterfaceTypesAreListed(t *testing.T) {
	_, db := open(t, sandbox.Dummy)
	types, err := db.DatapathTypes(within(t, timeout))
	if err != nil || !slices.Contains(types, DatapathDummy) || !slices.Contains(types, DatapathNetdev) {
		t.Errorf("datapath types are %v, %v", types, err)
	}
	types, err = db.InterfaceTypes(within(t, timeout))
	if err != nil || !slices.Contains(types, "internal") {
		t.Errorf("interface types are %v, %v", types, err)
	}
}

func TestUnavailableDatapathIsAnErrorAtOnce(t *testing.T) {
	_, db := open(t, sandbox.Dummy)
	b := testBridge
	b.DatapathType = "nonesuch"
	err := db.EnsureBridge(within(t, timeout), b)
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "nonesuch") {
		t.Errorf("error is %v", err)
	}
}

func TestEnsureBridgeWaitsForVswitchdOnlyAsLongAsItMay(t *testing.T) {
	s, db := open(t, sandbox.Dummy)
	if err := s.StopVswitchd(within(t, timeout)); err != nil {
		t.Fatal(err)
	}
	err := db.EnsureBridge(within(t, time.Second), testBridge)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "is ovs-vswitchd running?") {
		t.Errorf("error is %v", err)
	}
	if err := s.StartVswitchd(within(t, timeout)); err != nil {
		t.Fatal(err)
	}
	if err := db.EnsureBridge(within(t, timeout), testBridge); err != nil {
		t.Error(err)
	}
}

func TestBadBridgesAreRefusedByField(t *testing.T) {
	_, db := open(t, sandbox.Dummy)
	for field, change := range map[string]func(*Bridge){
		"Name":       func(b *Bridge) { b.Name = "" },
		"Gateway":    func(b *Bridge) { b.Gateway = "a-name-of-sixteen" },
		"GatewayMAC": func(b *Bridge) { b.GatewayMAC = b.GatewayMAC[:3] },
		"MTU":        func(b *Bridge) { b.MTU = -1 },
		"Prefixes":   func(b *Bridge) { b.Prefixes = map[uint8][]string{3: {"nw_src", "nw_dst", "ipv6_src", "ipv6_dst"}} },
	} {
		b := testBridge
		change(&b)
		if err := db.EnsureBridge(within(t, timeout), b); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error is %v", field, err)
		}
	}
}

func TestGatewayOfAnotherBridgeIsRefused(t *testing.T) {
	s, db := open(t, sandbox.Dummy)
	vsctl(t, s, "add-br", "other", "--", "set", "bridge", "other", "datapath_type=dummy",
		"--", "add-port", "other", "sluice0", "--", "set", "interface", "sluice0", "type=dummy")
	err := db.EnsureBridge(within(t, timeout), testBridge)
	if err == nil || !strings.Contains(err.Error(), "sluice0 belongs to another bridge") {
		t.Errorf("error is %v", err)
	}
}
