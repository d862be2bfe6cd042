package selfcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/check"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

func TestWhatIsBrokenIsFound(t *testing.T) {
	n := newNode(t)
	t.Run("a node that is well", func(t *testing.T) { well(t, n) })
	t.Run("flows", func(t *testing.T) { brokenFlows(t, n) })
	t.Run("verdicts", func(t *testing.T) { brokenVerdicts(t, n) })
	t.Run("bundle", func(t *testing.T) { bundle(t, n) })
	t.Run("cni", func(t *testing.T) { brokenCNI(t, n) })
	t.Run("sysctls", func(t *testing.T) { brokenSysctls(t, n) })
	t.Run("bridge", func(t *testing.T) { brokenBridge(t, n) })
	t.Run("ports", func(t *testing.T) { brokenPorts(t, n) })
	t.Run("daemons", func(t *testing.T) { brokenDaemons(t, n) })
}

// well holds that nothing is said of a node on which nothing is broken.
func well(t *testing.T, n *node) {
	code, by := n.checks(t)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, name := range append([]string{"agent"}, check.Names()...) {
		switch c := by[name]; {
		case c.Status == api.CheckOK:
		case name == "mtu": // the bed's agent has no Node object of its own
		default:
			t.Errorf("check %s: %+v", name, c)
		}
	}
	code, out := n.sluice(t, "check")
	if code != 0 || !strings.Contains(out, "Nothing has failed on node node0") || strings.Contains(out, "\x1b") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	t.Logf("\n%s", out)
	code, by = n.checks(t, "--only", "flows,agent")
	if code != 0 || len(by) != 2 {
		t.Errorf("--only flows,agent: exit code %d, %d checks", code, len(by))
	}
	if _, by = n.checks(t, "--skip", "flows,agent"); by["flows"].Name != "" || by["agent"].Name != "" || by["ports"].Name == "" {
		t.Errorf("--skip flows,agent makes %v", by)
	}
}

// resync has the agent write what differs.
func (n *node) resync(t *testing.T) {
	t.Helper()
	if err := n.StopAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.mended(t, "flows")
	n.mended(t, "enforcer")
}

func brokenFlows(t *testing.T, n *node) {
	db := n.port(t, "db")
	drop := "cookie=" + fmt.Sprintf("0x%x/-1", 8<<48|uint64(db.OFPort))
	n.ofctl(t, "del-flows", "br-sluice", drop)
	n.ofctl(t, "add-flow", "br-sluice", "table=Classifier,priority=999,ip,nw_src=192.0.2.99,actions=drop")
	_, by := n.checks(t, "--only", "flows")
	c := by["flows"]
	text := strings.Join(c.Details, "\n")
	t.Logf("%s\n%s", c.Message, text)
	for _, want := range []string{
		"missing in IngressDefault: cookie=0x8000000000", fmt.Sprintf("(ingress-isolation/%d) of pod shop/db", db.OFPort),
		"extra in Classifier: cookie=0x0,table=0,priority=999,ip,nw_src=192.0.2.99", "actions=drop",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if c.Status != api.CheckFail || !strings.Contains(c.Message, "2 of ") || !strings.Contains(c.Message, "Classifier: 1 extra; IngressDefault: 1 missing") {
		t.Errorf("%+v", c)
	}
	n.resync(t)
}

func brokenCNI(t *testing.T, n *node) {
	list, err := os.ReadFile(n.list)
	if err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(n.confDir, "05-bridge.conflist")
	for _, tc := range []struct {
		text    string
		breakIt func()
	}{
		{"there is none in " + n.confDir, func() { os.Remove(n.list) }},
		{"unexpected end of JSON input", func() { write(t, n.list, "{") }},
		{`name is "other"`, func() { write(t, n.list, strings.Replace(string(list), `"name":"sluice"`, `"name":"other"`, 1)) }},
		{"socket is /nowhere.sock", func() { write(t, n.list, strings.Replace(string(list), n.Socket(), "/nowhere.sock", 1)) }},
		{"05-bridge.conflist: plugins: none is of type sluice-cni", func() {
			write(t, first, `{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"bridge"}]}`)
		}},
	} {
		n.found(t, tc.breakIt, "cni", api.CheckFail, tc.text)
		os.Remove(first)
		write(t, n.list, string(list))
	}
	n.mended(t, "cni")
}

// brokenSysctls turns off what the agent does not hear of at once. The rest of the
// network it puts right in milliseconds; that it is compared rightly is tested in
// pkg/route.
func brokenSysctls(t *testing.T, n *node) {
	sysctl := func(key, value string) func() {
		return func() {
			if err := n.Node.Do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0) }); err != nil {
				t.Error(err)
			}
		}
	}
	n.found(t, sysctl("net/ipv4/ip_forward", "0"), "sysctls", api.CheckFail, "sysctl net/ipv4/ip_forward is 0, should be 1")
	n.found(t, sysctl("net/ipv6/conf/sluice0/accept_ra", "1"), "sysctls", api.CheckFail, "net/ipv6/conf/sluice0/accept_ra is 1")
	sysctl("net/ipv4/ip_forward", "1")()
	sysctl("net/ipv6/conf/sluice0/forwarding", "1")()
	sysctl("net/ipv4/conf/sluice0/forwarding", "1")()
	sysctl("net/ipv6/conf/sluice0/accept_ra", "0")()
	n.mended(t, "sysctls")
}

func brokenBridge(t *testing.T, n *node) {
	n.found(t, func() { sandboxtest.Run(t, n.OVS, "ovs-vsctl", "set-fail-mode", "br-sluice", "standalone") },
		"bridge", api.CheckFail, `bridge br-sluice: fail_mode is "standalone", should be "secure"`)
	n.found(t, func() {
		sandboxtest.Run(t, n.OVS, "ovs-vsctl", "set-fail-mode", "br-sluice", "secure", "--", "remove", "bridge", "br-sluice", "flow_tables", "0")
	}, "bridge", api.CheckFail, `table 0 of bridge br-sluice: has no name, should be "Classifier"`)
	n.resync(t)
	n.mended(t, "bridge")
}

func brokenPorts(t *testing.T, n *node) {
	other := n.port(t, "other")
	mtu := func(bytes int) func() {
		return func() {
			if err := n.Node.Do(func() error {
				link, err := netlink.LinkByName(other.Name)
				if err != nil {
					return err
				}
				return netlink.LinkSetMTU(link, bytes)
			}); err != nil {
				t.Error(err)
			}
		}
	}
	n.found(t, mtu(1200), "ports", api.CheckWarn, "port "+other.Name+" of pod shop/other: interface "+other.Name+" of the host has an MTU of 1200")
	n.found(t, mtu(9000), "ports", api.CheckFail, "has an MTU of 9000 instead of 1450 bytes")
	mtu(1450)()
	n.mended(t, "ports")

	pod := n.pods["other"]
	in := func(args ...string) {
		if err := pod.Do(func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			if args[0] == "down" {
				return netlink.LinkSetDown(link)
			}
			return netlink.LinkSetUp(link)
		}); err != nil {
			t.Error(err)
		}
	}
	n.found(t, func() { in("down") }, "ports", api.CheckFail, "of pod shop/other: interface eth0 of network namespace "+pod.Path()+" is down")

	// A pair that no port has, and a port whose pair is another's.
	n.found(t, func() { sandboxtest.Run(t, n.OVS, "ovs-vsctl", "--if-exists", "del-port", other.Name) },
		"ports", api.CheckFail, "interface "+other.Name+": is the host's end of a pod's veth pair, and no port of bridge br-sluice has it")
	if err := n.DeletePod(t.Context(), pod); err != nil {
		t.Error(err)
	}
	delete(n.pods, "other")
	n.mended(t, "ports")
}

func brokenDaemons(t *testing.T, n *node) {
	if err := n.OVS.StopVswitchd(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.found(t, func() {}, "vswitchd", api.CheckFail, "ovs-vswitchd")
	sandboxtest.Run(t, n.OVS, "ovs-vsctl", "--no-wait", "set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true")
	if err := n.OVS.StartVswitchd(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.found(t, func() {}, "vswitchd", api.CheckWarn, "flow-restore-wait is true")
	sandboxtest.Run(t, n.OVS, "ovs-vsctl", "--no-wait", "remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait")
	n.mended(t, "vswitchd")
	n.mended(t, "flows")
	if err := n.StopAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	code, by := n.checks(t)
	if c := by["agent"]; code != 1 || c.Status != api.CheckFail || !strings.Contains(c.Message, "no agent at "+n.Socket()) || c.Hint == "" {
		t.Errorf("without an agent: exit code %d, %+v", code, by)
	}
	withoutAgent(t, n)
}
