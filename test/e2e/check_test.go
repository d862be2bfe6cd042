package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/test/bed"
)

// checks holds that the checks find a node well on either datapath, and see what
// is not. What does not depend on the datapath is broken in test/selfcheck.
func (n *told) checks(t *testing.T) {
	c := n.Client()
	defer c.Close()
	ask := func(req api.CheckRequest) map[string]api.Check {
		t.Helper()
		report, err := c.Check(within(t), req, nil)
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]api.Check{}
		for _, c := range report.Checks {
			by[c.Name] = c
		}
		return by
	}
	// No runtime finds Sluice here; nft is slow in an emulated machine, and the same.
	by := ask(api.CheckRequest{Skip: append([]string{"cni"}, choose(emulated, []string{"nftables"}, nil)...)})
	for name, c := range by {
		t.Logf("%-10s %5d ms  %s", name, c.Millis, c.Message)
		if c.Status != api.CheckOK {
			t.Errorf("check %s: %+v", name, c)
		}
	}
	if text := by["datapath"].Message; !strings.HasPrefix(text, "datapath "+*datapathFlag+" tracks connections") {
		t.Errorf("datapath: %q", text)
	}
	limit := map[string]string{sandbox.System: "sysctl net.netfilter.nf_conntrack_max", sandbox.Netdev: "dpctl/ct-set-maxconns"}[*datapathFlag]
	if text := by["conntrack"].Message; !strings.Contains(text, "("+limit+")") || strings.Contains(text, " 0 in zone 65520 ") {
		t.Errorf("conntrack: %q after connections of IPv4", text)
	}

	set := func(value string) {
		t.Helper()
		if err := n.Node.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte(value), 0) }); err != nil {
			t.Fatal(err)
		}
	}
	set("0")
	if c := ask(api.CheckRequest{Only: []string{"sysctls"}})["sysctls"]; c.Status != api.CheckFail || !strings.Contains(fmt.Sprint(c.Message, c.Details), "ip_forward is 0") {
		t.Errorf("without forwarding: %+v", c)
	}
	set("1")

	verdicts := func() *api.VerdictReport {
		t.Helper()
		r, err := c.CheckVerdicts(within(t), api.VerdictRequest{Max: choose(emulated, 40, 400), Seconds: int(soon().Seconds())}, nil)
		if err == nil && r.Traced == 0 {
			err = errors.New("nothing was traced")
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verdicts(); len(r.Differences) > 0 || len(r.Unknown) > 0 {
		t.Errorf("verdicts of a bridge that is well: %+v", r)
	}
	ports, err := c.Ports(within(t))
	if err != nil {
		t.Fatal(err)
	}
	server := ports[slices.IndexFunc(ports, func(p api.Port) bool { return p.Pod == n.server.Name })]
	sandboxtest.Run(t, n.OVS, "ovs-ofctl", "-O", "OpenFlow15", "del-flows", bed.Bridge, fmt.Sprintf("cookie=0x%x/-1", 8<<48|uint64(server.OFPort)))
	r := verdicts()
	if len(r.Differences) == 0 {
		t.Error("nothing isolates the server any more, and no verdict differs")
	}
	for _, d := range r.Differences {
		if d.To != n.server.Name || d.Bridge != api.Allowed || d.Policies != api.Denied {
			t.Errorf("without what isolates the server: %+v", d)
		}
	}
}
