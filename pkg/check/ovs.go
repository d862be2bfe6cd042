package check

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/trace"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

const startOVS = "start Open vSwitch: systemctl status openvswitch-switch, or the pod sluice-ovs; its logs are in /var/log/openvswitch"

// ovsdb asks the database a question over the agent's connection, and the server
// for its version over its control socket, if that is on this node.
func (c *Checker) ovsdb(ctx context.Context) result {
	if !c.cfg.DB.Connected() {
		return fail(startOVS, "ovsdb-server at %s: the agent has no connection", c.cfg.Agent.OVSDB)
	}
	if _, err := c.cfg.DB.Ports(ctx); err != nil {
		return fail(startOVS, "ovsdb-server: %v", err)
	}
	if strings.HasPrefix(c.cfg.Agent.OVSDB, "tcp:") {
		return ok("ovsdb-server at %s answers", c.cfg.Agent.OVSDB)
	}
	path, err := unixctl.Find(c.cfg.Agent.OVSRunDir, "ovsdb-server")
	if err != nil { // it may run elsewhere, or without one
		return ok("ovsdb-server at %s answers; its version is not known", c.cfg.Agent.OVSDB)
	}
	text, err := unixctl.New(path).Call(ctx, "version")
	if err != nil {
		return fail(startOVS, "ovsdb-server: %v", err)
	}
	return ok("%s answers", strings.TrimSpace(text))
}

func (c *Checker) vswitchd(ctx context.Context) result {
	client, err := c.cfg.Vswitchd()
	if err != nil {
		return fail(startOVS, "ovs-vswitchd: %v", err)
	}
	text, err := client.Call(ctx, "version")
	if err != nil {
		return fail(startOVS, "ovs-vswitchd: %v", err)
	}
	if _, err := trace.RunFlow(ctx, client, c.cfg.Agent.Bridge, "in_port=local", trace.Options{}); err != nil {
		return fail("see the check bridge", "ovs-vswitchd: %v", err)
	}
	if wait, err := c.cfg.DB.Restore(ctx); err != nil {
		return fail(startOVS, "ovs-vswitchd: %v", err)
	} else if wait != vsdb.RestoreNone {
		return warn("if nobody is restarting Open vSwitch: ovs-vsctl remove Open_vSwitch . other_config flow-restore-wait",
			"other_config:flow-restore-wait is true: an ovs-vswitchd that was started since handles no packet")
	}
	return ok("%s answers", strings.TrimSpace(text))
}

// features are what the flows need of a datapath, as dpif/show-dp-features names
// them.
var features = []string{"Recirc", "CT state", "CT zone", "CT mark", "CT label", "CT state NAT", "CT orig tuple"}

// datapath looks at what the datapath can do. The kernel's is a module, and NAT
// for it another.
func (c *Checker) datapath(ctx context.Context) result {
	state, err := c.cfg.DB.Bridge(ctx, c.cfg.Agent.Bridge)
	if err != nil {
		return fail("see the check bridge", "%v", err)
	}
	if state.DatapathType == vsdb.DatapathSystem {
		for _, module := range []string{"openvswitch", "nf_conntrack", "nf_nat"} {
			// What is compiled into the kernel is there too, if it has parameters.
			if _, err := os.Stat("/sys/module/" + module); err != nil && module == "openvswitch" {
				return fail("modprobe openvswitch", "kernel module openvswitch is not loaded, and the bridge's datapath_type is system")
			} else if err != nil {
				return warn("modprobe "+module, "kernel module %s is not loaded", module)
			}
		}
	}
	client, err := c.cfg.Vswitchd()
	if err != nil {
		return skip("ovs-vswitchd does not run")
	}
	text, err := client.Call(ctx, "dpif/show-dp-features", c.cfg.Agent.Bridge)
	if err != nil {
		return fail("see the check bridge", "datapath of bridge %s: %v", c.cfg.Agent.Bridge, err)
	}
	has := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		has[name] = value
	}
	var missing []string
	for _, f := range features {
		if has[f] != "Yes" {
			missing = append(missing, f)
		}
	}
	if len(missing) > 0 {
		return fail("load nf_conntrack and nf_nat before ovs-vswitchd starts, or use a newer kernel",
			"datapath %s lacks %s", state.DatapathType, strings.Join(missing, ", "))
	}
	return ok("datapath %s tracks connections with zones, marks, labels and NAT", state.DatapathType)
}

// bridge compares the bridge's rows with what the agent would write.
func (c *Checker) bridge(ctx context.Context) result {
	s, none := c.setup()
	if none != nil {
		return *none
	}
	found, err := c.cfg.DB.Compare(ctx, s.Bridge)
	if err != nil {
		return fail(startOVS, "%v", err)
	}
	if len(found) > 0 {
		return fault("restart the agent, which writes what differs; find who else changes the bridge: ovsdb-tool show-log, or its log", found)
	}
	return ok("bridge %s: datapath_type %s, fail_mode secure, OpenFlow up to 1.5, %d tables named",
		s.Bridge.Name, s.Bridge.DatapathType, len(flows.TableNames()))
}

// enforcer looks whether the loop writes the bridge.
func (c *Checker) enforcer(ctx context.Context) result {
	if _, err := c.cfg.Setup(); err != nil {
		return fail("mend what it says; the agent tries again by itself", "the node is not set up: %v", err)
	}
	var ready bool
	var stats enforce.Stats
	var pending, ports int
	err := c.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		ready, stats, ports = v.Ready(), v.Stats(), len(v.Ports())
		for name := range v.Ports() {
			if p, known := v.Pipeline().Port(name); !known || p.Pending {
				pending++
			}
		}
	})
	switch {
	case err != nil:
		return fail("restart the agent", "the enforcer does not answer: %v", err)
	case !ready:
		return fail("see the checks api and vswitchd, and the agent's log",
			"the bridge does not hold yet what it should; reading or writing it has failed %d times", stats.Failed)
	case pending > 0:
		return warn("see the check api; sluice get ports shows which: does the pod exist, with the uid that the runtime gave?",
			"%d of %d ports are shut because their pods are not known yet", pending, ports)
	}
	return ok("%d ports; %d bundles with %d flow changes written, %s failed", ports, stats.Bundles, stats.Flows, count(stats.Failed))
}

func count(n uint64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}
