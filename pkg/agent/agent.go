// Package agent wires the node daemon: it connects Open vSwitch, the cluster,
// the enforcer and the CNI server, and keeps them running. It decides nothing.
package agent

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/check/verdicts"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/cni"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/metrics"
	"github.com/sluice-cni/sluice/pkg/stats"
	"github.com/sluice-cni/sluice/pkg/traffic"
	"github.com/sluice-cni/sluice/pkg/verdict"
)

// Agent is a node daemon. Its parts each own their state; what is here is set
// once, in Run.
type Agent struct {
	cfg      *config.Config
	source   cluster.Source
	db       *vsdb.DB
	vswitchd *vswitchd
	bridge   *openflow.Bridge
	enforcer *enforce.Enforcer
	verdicts *verdict.Stream
	node     *node
	cni      *cni.Server
	store    *verdicts.Store
	stats    *stats.Collector
	traffic  *traffic.Tracker
	metrics  *metrics.Metrics
}

// Run runs the agent until ctx is done. The bridge and its flows, the gateway
// and the pods' ports stay as they are when it returns: enforcement does not
// need the agent.
func Run(ctx context.Context, cfg *config.Config) error {
	a := &Agent{cfg: cfg, vswitchd: newVswitchd(cfg.OVSRunDir), store: verdicts.NewStore()}
	var err error
	if a.source, err = newSource(cfg); err != nil {
		return err
	}
	if a.db, err = vsdb.Dial(ctx, vsdb.Config{Endpoint: cfg.OVSDB}); err != nil {
		return err
	}
	defer a.db.Close()

	if a.bridge, err = openflow.Open(openflow.Config{Target: cfg.Bridge, RunDir: cfg.OVSRunDir, Native: cfg.OpenFlow == "native"}); err != nil {
		return err
	}
	if a.node, err = newNode(a, datapathType(ctx, a.db, cfg.Datapath, cfg.Bridge)); err != nil {
		return err
	}
	look := func(ctx context.Context, view func(enforce.View)) error { return a.enforcer.Look(ctx, view) }
	a.stats = stats.New(ctx, stats.Config{Bridge: a.bridge, Generation: a.vswitchd.run, Look: look, File: cfg.StatsPath()})
	a.traffic = traffic.New(ctx, traffic.Config{Counts: a.vswitchd.countsTraffic, Gone: a.goneRules, File: cfg.TrafficPath()})
	a.metrics = metrics.New(metrics.Sources{
		Ready: a.ready, Look: look, FlowsByTable: a.bridge.FlowsByTable, OpenFlowLost: a.bridge.ConnectionsLost,
		OVSDB:    func() (bool, uint64) { return a.db.Connected(), a.db.Reconnects() },
		Vswitchd: func() (bool, uint64) { return a.vswitchd.up.Load(), a.vswitchd.restarts.Load() },
		Stats:    a.stats, Traffic: a.traffic, Rules: cfg.RuleMetrics,
	})
	a.enforcer = enforce.New(enforce.Config{
		Node: cfg.NodeName, Bridge: a.bridge, Connections: a.vswitchd, PortAddresses: cfg.Manifests != "",
		Watch:    verdict.Denials(verdict.Rates),
		Counters: a.stats, Hooks: a.metrics.Hooks(),
		Services: a.node.services != nil, OnBalancers: a.node.balanced,
		OnProblem: func(err error) { klog.FromContext(ctx).Info("Input that can't be used", "problem", err.Error()) },
	})
	a.verdicts = verdict.New(verdict.Config{Node: cfg.NodeName, Bridge: a.bridge, Enforcer: a.enforcer, Vswitchd: a.vswitchd.client, Network: a.node.network})
	a.cni = cni.NewServer(cni.Options{
		Ports: a.db, Enforcer: enforcerPorts{a}, Pool: a.node.pool, Bridge: cfg.Bridge, Network: cfg.Network,
		MTU: a.node.mtu, ChecksumInSoftware: a.node.userspace(),
		OnCommand: func(c wire.Command, took time.Duration, code uint) { a.metrics.Command(string(c), took, code) },
	})
	return a.run(ctx)
}

// run starts the parts in the order in which they need each other, and ends
// when one fails or ctx is done.
func (a *Agent) run(ctx context.Context) error {
	// The socket is there before what happened without an agent is made up for:
	// a plugin that finds none leaves the rest of its work to Reconcile.
	listeners, err := a.listen(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.enforcer.Run(ctx) })
	group.Go(func() error { return a.verdicts.Run(ctx) })
	if log := a.cfg.AuditLog; log.Path != "" {
		group.Go(func() error {
			return a.verdicts.Audit(ctx, verdict.AuditLog{Path: log.Path, MaxSize: log.MaxSizeMB, MaxFiles: log.MaxFiles, Allowed: log.Allowed})
		})
	}
	group.Go(func() error { return a.stats.Run(ctx) })
	group.Go(func() error { return a.traffic.Run(ctx) })
	for _, l := range listeners {
		group.Go(func() error { return serve(ctx, l) })
	}
	group.Go(func() error {
		// Ports of before are known before the cluster is: the first flows that are
		// written must not cut them off.
		if err := a.loadPorts(ctx); err != nil {
			return err
		}
		group.Go(func() error { return a.source.Run(ctx, a.hear) })
		group.Go(func() error { return a.vswitchd.watch(ctx, a.restarted) })
		group.Go(func() error { return a.restore(ctx) })
		group.Go(func() error { return a.node.run(ctx) })
		group.Go(func() error { return a.node.runServices(ctx) })
		group.Go(func() error { return a.reconcile(ctx) })
		return nil
	})
	klog.FromContext(ctx).Info("Agent started", "node", a.cfg.NodeName, "bridge", a.cfg.Bridge, "socket", a.cfg.Socket)
	return group.Wait()
}

func newSource(cfg *config.Config) (cluster.Source, error) {
	if cfg.Manifests != "" {
		return cluster.NewFolderSource(cfg.Manifests, cluster.FolderOptions{Node: cfg.NodeName}), nil
	}
	rest, err := restConfig(cfg.Kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := cluster.NewClient(rest)
	if err != nil {
		return nil, err
	}
	return cluster.NewAPISource(client, cluster.APIOptions{Services: cfg.Services == "sluice"}), nil
}

// hear passes events on: those of Node objects to the node, all to the enforcer.
func (a *Agent) hear(events []cluster.Event) {
	for _, e := range events {
		if e.ServiceCIDR != nil {
			a.node.setServiceCIDR(e.ServiceCIDR, e.Deleted)
		}
		if e.Node != nil && e.Node.Name == a.cfg.NodeName && !e.Deleted {
			a.node.set(e.Node)
		}
	}
	if a.node.cluster.Update(events) {
		a.node.poke()
	}
	a.store.Update(events)
	a.enforcer.Emit(events)
}

// restartTime bounds the wait for the bridge of an ovs-vswitchd that has started
// anew.
const restartTime = time.Minute

// restarted brings a bridge that ovs-vswitchd has started anew, and that is
// empty, to what it should hold.
func (a *Agent) restarted(ctx context.Context) {
	klog.FromContext(ctx).Info("ovs-vswitchd has started anew, writing the bridge")
	a.node.poke()
	wait, cancel := context.WithTimeout(ctx, restartTime)
	defer cancel()
	// The bridge may not come in time, if the database is away. Resync is asked for
	// in any case: the enforcer tries until there is a bridge to write.
	err := errors.Join(a.bridge.Wait(wait), a.enforcer.Resync(wait))
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "Could not write the bridge yet after ovs-vswitchd started anew")
	}
}
