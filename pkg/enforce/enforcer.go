package enforce

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/policy"
	"github.com/sluice-cni/sluice/pkg/service"
)

// Config says what to enforce on.
type Config struct {
	// Node is the name of this node.
	Node string
	// PortAddresses says that no kubelet reports addresses: pods have those of their
	// ports.
	PortAddresses bool
	// Bridge is where flows go.
	Bridge *openflow.Bridge
	// Connections gives access to the datapath's connection tracking; nil leaves
	// live connections alone.
	Connections Connections
	// Watch says which verdicts the bridge tells of at first.
	Watch flows.Watch
	// Counters hears of bundles before they are sent; nil if nobody counts.
	Counters Counters
	// Hooks hear what the enforcer does.
	Hooks Hooks
	// Services says that the bridge balances Services.
	Services bool
	// OnBalancers hears from the loop, each time the bridge is right, what has changed
	// of the balancers on it; it must not block. The first call has all there are. It
	// may be nil.
	OnBalancers func([]flows.BalancerChange, []service.HealthCheck)
	// OnProblem hears of input that could not be used, from the loop; it must not
	// block. It may be nil.
	OnProblem func(error)
}

// Enforcer keeps a bridge's flows equal to what the cluster asks for. Its
// methods are safe for concurrent use.
type Enforcer struct {
	cfg   Config
	inbox inbox
	sweep sweeper
	done  chan struct{} // closed when Run has ended

	// What follows belongs to the loop.
	compiler *policy.Compiler
	services *service.Compiler
	// balancers are changes that the bridge is to get, or has got without being told
	// of.
	balancers []flows.BalancerChange
	pipeline  *flows.Pipeline
	node      *flows.Node                   // set, but not yet applied
	watch     *flows.Watch                  // set, but not yet applied
	live      *flows.Live                   // set, but not yet applied
	remotes   map[string]flows.RemoteChange // changed, but not yet applied
	ports     map[string]policy.LocalPort
	// givenUp are addresses of ports that have gone since the bridge was right.
	givenUp []netip.Addr
	synced  bool
	started bool // the first turn has been written
	stale   bool // the bridge may differ from the pipeline
	// meters are those that stand on the bridge, by number. unmetered says why there
	// are none, if that is so.
	meters    map[uint32]openflow.Meter
	unmetered error
	// unfollowed says why no packets are followed although that was asked for.
	unfollowed error
	// Counters, see Stats.
	commits, written, failed, refused, resyncs uint64
	// heard is when the events were heard that are not on the bridge yet.
	heard []time.Time
	// problems of the policies that are there.
	problems map[cluster.Key][]policy.Problem
	// rejected are ports the pipeline refused, with what was to be done.
	rejected map[string]rejection
}

// New returns an enforcer that does nothing until Run.
func New(cfg Config) *Enforcer {
	e := &Enforcer{
		cfg: cfg, done: make(chan struct{}),
		compiler: policy.New(cfg.Node), services: service.New(cfg.Node), pipeline: flows.New(), ports: map[string]policy.LocalPort{},
		remotes: map[string]flows.RemoteChange{}, problems: map[cluster.Key][]policy.Problem{}, rejected: map[string]rejection{},
	}
	if cfg.PortAddresses {
		e.compiler.UsePortAddresses()
	}
	if cfg.Watch != (flows.Watch{}) {
		e.watch = &cfg.Watch
	}
	e.inbox.wake = make(chan struct{}, 1)
	e.sweep.init(cfg.Connections, e)
	return e
}

// ErrStopped is returned for what is asked after Run has ended.
var ErrStopped = errors.New("enforcer has stopped")

// retryDelay is how long the loop waits after a bundle failed before it reads
// the bridge and tries again; each failure doubles it up to maxRetryDelay.
const (
	retryDelay    = 50 * time.Millisecond
	maxRetryDelay = 5 * time.Second
)

// writeTime bounds reading or writing the bridge. An ovs-vswitchd whose database
// is away answers no OpenFlow; 100,000 flows take some seconds.
const writeTime = time.Minute

// maxHeard bounds how many events' latency is told of with one bundle. There may be
// any number while the bridge can't be written.
const maxHeard = 100_000

// Run is the loop. It returns nil when ctx is done; the bridge's flows stay.
func (e *Enforcer) Run(ctx context.Context) error {
	defer close(e.done)
	logger := klog.FromContext(ctx)
	var stopped sync.WaitGroup
	defer stopped.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped.Go(func() { e.sweep.run(ctx) })

	var retry <-chan time.Time
	delay := retryDelay
	var waiting []*request // asked for, not yet on the bridge
	for {
		select {
		case <-ctx.Done():
			answer(append(waiting, e.inbox.take()...), ErrStopped)
			return nil
		case <-e.inbox.wake:
		case <-retry:
			retry = nil
		}
		queries := e.absorb(e.inbox.take(), &waiting)
		if retry == nil && e.ready() {
			if err := e.turn(ctx); err != nil {
				if ctx.Err() != nil {
					continue
				}
				e.failed++
				logger.Error(err, "Could not write the bridge, trying again", "delay", delay)
				retry, delay = time.After(delay), min(2*delay, maxRetryDelay)
			} else {
				delay = retryDelay
				for _, r := range waiting {
					r.answer(e.outcome(r))
				}
				waiting = nil
			}
		}
		for _, q := range queries {
			if !q.begun.Swap(true) {
				q.view(e)
			}
			q.answer(nil)
		}
	}
}

// ready reports whether enough is known to write flows.
func (e *Enforcer) ready() bool { return e.synced && (e.started || e.node != nil) }

// absorb enters requests into the compiler. Those whose asker waits for the bridge
// are appended to waiting, those that only look are returned.
func (e *Enforcer) absorb(rs []*request, waiting *[]*request) []*request {
	var queries []*request
	for _, r := range rs {
		switch {
		case r.view != nil:
			queries = append(queries, r)
			continue
		case r.events != nil:
			for _, ev := range r.events {
				if e.started && !ev.Heard.IsZero() && len(e.heard) < maxHeard {
					e.heard = append(e.heard, ev.Heard)
				}
				e.synced = e.synced || ev.Synced
				if p := ev.Policy; p != nil {
					delete(e.problems, cluster.Key{Namespace: p.Namespace, Name: p.Name})
				}
				if ev.Problem != nil {
					e.report(ev.Problem)
				}
			}
			e.compiler.Update(r.events...)
			if e.cfg.Services {
				e.services.Update(r.events...)
			}
		case r.node != nil:
			e.node = r.node
		case r.watch != nil:
			e.watch, e.unmetered = r.watch, nil
		case r.live != nil:
			e.live, e.unfollowed = r.live, nil
		case r.remote != nil:
			e.remotes[r.remote.Name] = *r.remote
		case r.port != nil:
			e.giveUp(r.port.Name, r.port.Addrs)
			e.ports[r.port.Name] = *r.port
			e.compiler.SetPort(*r.port)
		case r.gone != "":
			e.giveUp(r.gone, nil)
			delete(e.ports, r.gone)
			e.compiler.DeletePort(r.gone)
			if !e.started {
				r.answer(nil)
				continue
			}
		case r.resync:
			e.stale = true
			e.resyncs++
		}
		if r.done != nil {
			*waiting = append(*waiting, r)
		}
	}
	return queries
}

// turn brings the bridge to what is known now.
func (e *Enforcer) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	// The bridge is read before anything is taken from the compiler: if that
	// fails, all is still there for the next turn.
	var actual standing
	if !e.started || e.stale {
		var err error
		if actual, err = e.read(ctx); err != nil {
			return err
		}
		if !e.started {
			e.pipeline.Restore(slices.Values(slices.Concat(actual.flows, actual.learned)))
			e.pipeline.RestoreGroups(pipelineGroups(actual.groups))
		}
	}
	delta, problems := e.compiler.Flush()
	for _, p := range problems {
		e.problems[p.Policy] = append(e.problems[p.Policy], p)
		e.report(errors.New(p.String()))
	}
	var faults []service.Problem
	delta.Balancers, faults = e.services.Flush()
	for _, p := range faults {
		e.report(errors.New(p.String()))
	}
	e.balancers = append(e.balancers, delta.Balancers...)
	delta.Node, e.node = e.node, nil
	delta.Watch, e.watch = e.watch, nil
	delta.Live, e.live = e.live, nil
	for _, name := range slices.Sorted(maps.Keys(e.remotes)) {
		delta.Remotes = append(delta.Remotes, e.remotes[name])
	}
	clear(e.remotes)
	diff := !e.started || e.stale
	changes, whole := e.apply(delta)
	if !whole && !diff {
		e.stale = true
		return e.turn(ctx)
	}
	desired := openflow.Desired{Groups: allGroups(e.pipeline), Flows: e.pipeline.Flows()}
	if !e.started && whole && len(changes.Delete)+len(changes.DeleteGroups) == 0 {
		// What a pipeline that had nothing has changed is all there is.
		desired = openflow.Desired{Groups: slices.Values(bridgeGroups(changes.SetGroups)), Flows: slices.Values(changes.Add)}
	}
	meters := len(e.pipeline.Meters())
	if !e.started {
		e.pipeline.Restored()
		e.started = true
		e.stale = true // until it is written
	}
	if err := e.prepareMeters(ctx, diff); err != nil {
		e.stale = true
		return fmt.Errorf("prepare meters: %w", err)
	}
	if e.stale && !diff {
		return e.turn(ctx)
	}
	tx := &openflow.Transaction{Add: changes.Add, Delete: changes.Delete, SetGroups: bridgeGroups(changes.SetGroups), DeleteGroups: changes.DeleteGroups}
	if diff {
		if len(e.pipeline.Meters()) != meters { // given up, and with them some flows
			desired.Flows = e.pipeline.Flows()
		}
		tx = desired.Diff(openflow.Contents{Groups: actual.groups, Flows: actual.flows})
	}
	if !tx.Empty() {
		if err := e.commit(ctx, tx); err != nil {
			e.stale = true // the pipeline is ahead of the bridge
			e.forgetLive(err)
			if _, refused := errors.AsType[*openflow.BundleError](err); refused {
				e.refused++
			}
			return fmt.Errorf("write the bridge's flows: %w", err)
		}
		e.commits++
		e.written += uint64(tx.Len())
	}
	e.heard = nil
	e.stale = false
	e.dropMeters(ctx)
	if e.cfg.OnBalancers != nil {
		e.cfg.OnBalancers(e.balancers, e.services.HealthChecks())
	}
	e.balancers = nil
	// ovs-vswitchd does nothing else while it dumps connections: they are judged
	// anew only when that can make a difference. Whoever wrote flows that are right
	// already may have ended before its sweep.
	if changes.Narrows || diff {
		e.sweep.request(e.givenUp)
	}
	e.givenUp = nil
	return nil
}

func (e *Enforcer) report(err error) {
	if e.cfg.OnProblem != nil {
		e.cfg.OnProblem(err)
	}
}
