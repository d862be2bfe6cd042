// Package agent wires the node daemon: it connects Open vSwitch, the cluster,
// the enforcer and the CNI server, and keeps them running. It decides nothing.
package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/check"
	"github.com/sluice-cni/sluice/pkg/check/verdicts"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/cni"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/metrics"
	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/stats"
	"github.com/sluice-cni/sluice/pkg/verdict"
)

// shutdownTime is how long CNI calls under way may take to end when the agent
// stops.
const shutdownTime = 5 * time.Second

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
	a.metrics = metrics.New(metrics.Sources{
		Ready: a.ready, Look: look, FlowsByTable: a.bridge.FlowsByTable, OpenFlowLost: a.bridge.ConnectionsLost,
		OVSDB:    func() (bool, uint64) { return a.db.Connected(), a.db.Reconnects() },
		Vswitchd: func() (bool, uint64) { return a.vswitchd.up.Load(), a.vswitchd.restarts.Load() },
		Stats:    a.stats, Rules: cfg.RuleMetrics,
	})
	a.enforcer = enforce.New(enforce.Config{
		Node: cfg.NodeName, Bridge: a.bridge, Connections: a.vswitchd, PortAddresses: cfg.Manifests != "",
		Watch:    verdict.Denials(verdict.Rates),
		Counters: a.stats, Hooks: a.metrics.Hooks(),
		OnProblem: func(err error) { klog.FromContext(ctx).Info("Input that can't be used", "problem", err.Error()) },
	})
	a.verdicts = verdict.New(verdict.Config{Node: cfg.NodeName, Bridge: a.bridge, Enforcer: a.enforcer})
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
	socket, err := cni.Listen(ctx, a.cfg.Socket)
	if err != nil {
		return err
	}
	listeners := []served{{socket, a.socketMux()}}
	if a.cfg.HealthAddress != "" {
		health, err := net.Listen("tcp", a.cfg.HealthAddress)
		if err != nil {
			return errors.Join(fmt.Errorf("listen on healthAddress %s: %w", a.cfg.HealthAddress, err), socket.Close())
		}
		listeners = append(listeners, served{health, a.healthMux()})
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
	return cluster.NewAPISource(client, cluster.APIOptions{}), nil
}

// hear passes events on: those of Node objects to the node, all to the enforcer.
func (a *Agent) hear(events []cluster.Event) {
	for _, e := range events {
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

// socketMux is what is served on the agent's socket: the CNI commands, and the
// questions of the CLI.
func (a *Agent) socketMux() http.Handler {
	mux := http.NewServeMux()
	a.cni.Register(mux)
	observer := observe.New(observe.Config{
		Enforcer: a.enforcer, Vswitchd: a.vswitchd.client, Stats: a.stats, Bridge: a.cfg.Bridge, Node: a.cfg.NodeName,
		Network: a.node.network,
	})
	observer.Register(mux)
	check.New(check.Config{
		Agent: a.cfg, Enforcer: a.enforcer, DB: a.db, Vswitchd: a.vswitchd.client, Source: a.source, Setup: a.node.setupIs,
	}).Register(mux)
	verdicts.New(verdicts.Config{
		Node: a.cfg.NodeName, Enforcer: a.enforcer, Observer: observer, Store: a.store, PortAddresses: a.cfg.Manifests != "", Ranges: a.node.ranges,
	}).Register(mux)
	a.verdicts.Register(mux)
	return mux
}

// served is a listener with what answers on it.
type served struct {
	net.Listener
	http.Handler
}

// serve serves HTTP until ctx is done and then lets requests under way end.
func serve(ctx context.Context, l served) error {
	s := &http.Server{
		Handler:           l.Handler,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l.Listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := s.Shutdown(end); err != nil {
		return errors.Join(fmt.Errorf("stop serving %s: %w", l.Addr(), err), s.Close())
	}
	return nil
}
