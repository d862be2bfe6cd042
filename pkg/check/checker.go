// Package check looks whether a node is as it should be: Open vSwitch and the
// bridge, the pods' ports, the flows, connection tracking, what the container
// runtime finds, the node's own network stack and the cluster's API. It compares
// what the agent wants with what is there, by ways of its own where there are
// some, and changes nothing.
//
// Each check has its own deadline and its own answer: one that hangs keeps none
// of the others.
package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/route"
	"github.com/sluice-cni/sluice/pkg/version"
)

// Config says what to look at.
type Config struct {
	Agent    *config.Config
	Enforcer *enforce.Enforcer
	DB       *vsdb.DB
	// Vswitchd returns the control socket of the ovs-vswitchd that runs now.
	Vswitchd func() (*unixctl.Client, error)
	Source   cluster.Source
	// Setup tells what the agent has made of the node, or why it has not.
	Setup func() (Setup, error)
}

// Setup is the node as the agent wants it.
type Setup struct {
	Bridge   vsdb.Bridge
	Gateway  route.Gateway
	PodCIDRs []netip.Prefix
	// Plan is how other nodes are reached. Its parts are read only.
	Plan *nodes.Plan
	// Unreached is why routes to other nodes are not all there.
	Unreached error
}

// Checker makes checks. It keeps no state and is safe for concurrent use.
type Checker struct{ cfg Config }

// New returns a checker.
func New(cfg Config) *Checker { return &Checker{cfg} }

// checkTime bounds one check.
const checkTime = 10 * time.Second

// workers is how many checks are made at once. ovs-vswitchd answers one question
// at a time anyway.
const workers = 4

// check is a check by its name.
type check struct {
	name string
	// about says what is looked at, for help and completion.
	about string
	run   func(*Checker, context.Context) result
}

// checks are in the order in which one looks at them: what comes first may be why
// the rest fails.
var checks = []check{
	{"ovsdb", "the Open vSwitch database answers", (*Checker).ovsdb},
	{"vswitchd", "ovs-vswitchd answers, and can be asked for traces", (*Checker).vswitchd},
	{"datapath", "the datapath tracks connections as the flows need it", (*Checker).datapath},
	{"bridge", "bridge, gateway and tunnel in the database, names of tables", (*Checker).bridge},
	{"enforcer", "the agent writes the bridge", (*Checker).enforcer},
	{"ports", "each port has its veth pair and its pod, and each pair a port", (*Checker).ports},
	{"flows", "the flows on the bridge are those that should be there", (*Checker).flows},
	{"groups", "the same of the groups that balance Services", (*Checker).groups},
	{"conntrack", "connection tracking has room", (*Checker).conntrack},
	{"cni", "the runtime finds network configuration and plugin", (*Checker).cni},
	{"gateway", "the gateway's interface", (*Checker).gateway},
	{"sysctls", "forwarding and what else the kernel is told", (*Checker).sysctls},
	{"routes", "routes to other nodes, and their neighbours", (*Checker).routes},
	{"nftables", "the rules that masquerade, and those that lead to Services", (*Checker).nftables},
	{"mtu", "the pods' MTU fits the uplink", (*Checker).mtu},
	{"api", "the API server, and how well it is followed", (*Checker).api},
	{"problems", "policies and manifests that can't be used", (*Checker).problems},
}

// Names lists the checks in the order in which they are reported.
func Names() []string {
	var out []string
	for _, c := range checks {
		out = append(out, c.name)
	}
	return out
}

// About says in a few words what a check looks at; empty if there is none of the
// name.
func About(name string) string {
	for _, c := range checks {
		if c.name == name {
			return c.about
		}
	}
	return ""
}

// chosen returns the checks that a request asks for.
func chosen(req api.CheckRequest) ([]check, error) {
	for field, names := range map[string][]string{"only": req.Only, "skip": req.Skip} {
		for _, n := range names {
			if About(n) == "" {
				return nil, fmt.Errorf("%s: there is no check %q", field, n)
			}
		}
	}
	var out []check
	for _, c := range checks {
		if (len(req.Only) == 0 || slices.Contains(req.Only, c.name)) && !slices.Contains(req.Skip, c.name) {
			out = append(out, c)
		}
	}
	return out, nil
}

// Run makes the checks that are asked for. progress hears how many are done, from
// several goroutines; it may be nil.
func (c *Checker) Run(ctx context.Context, req api.CheckRequest, progress func(done, all int)) (*api.CheckReport, error) {
	todo, err := chosen(req)
	if err != nil {
		return nil, err
	}
	report := &api.CheckReport{
		Node: c.cfg.Agent.NodeName, Version: version.String(), Time: time.Now(), Checks: make([]api.Check, len(todo)),
	}
	var running sync.WaitGroup
	var done atomic.Int64
	places := make(chan struct{}, workers)
	for i, one := range todo {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			report.Checks[i] = c.one(ctx, one)
			if n := done.Add(1); progress != nil {
				progress(int(n), len(todo))
			}
		})
	}
	running.Wait()
	return report, context.Cause(ctx)
}

// one makes one check. One that does not end in time is left behind: it ends when
// what it waits for does.
func (c *Checker) one(ctx context.Context, one check) api.Check {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	answer := make(chan result, 1)
	go func() { answer <- one.run(c, ctx) }()
	var r result
	select {
	case r = <-answer:
	case <-ctx.Done():
		r = fail("not done: it hangs", "%s: no answer within %s", one.name, checkTime)
	}
	return api.Check{
		Name: one.name, Status: r.status, Message: r.message, Hint: r.hint, Details: r.details, Millis: time.Since(begun).Milliseconds(),
	}
}
