package verdicts

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/check"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/pkg/policy"
)

// Limits of a run: how many connections and seconds if nothing is said, how many
// at most, and how many are traced at once. ovs-vswitchd answers traces one by
// one and bundles of flows in between: with few under way a bundle waits for a
// few milliseconds.
const (
	defaultMax     = 2000
	maxMax         = 200_000
	defaultSeconds = 60
	maxSeconds     = 3600
	workers        = 2
)

// maxDifferences bounds the differences in a report: of a broken bridge all are.
const maxDifferences = 200

// Config says what to compare.
type Config struct {
	Node     string
	Enforcer *enforce.Enforcer
	Observer *observe.Observer
	Store    *Store
	// PortAddresses says that pods have the addresses of their ports, whatever the
	// cluster tells.
	PortAddresses bool
	// Ranges returns the ranges of pods, of all nodes, and of Services.
	Ranges func() []netip.Prefix
}

// Checker compares verdicts. It is safe for concurrent use; runs take turns.
type Checker struct {
	cfg Config
	one sync.Mutex
}

// New returns a checker.
func New(cfg Config) *Checker { return &Checker{cfg: cfg} }

// Register mounts POST /v1/check/verdicts on a mux.
func (c *Checker) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/check/verdicts", check.Handler(c.Run))
}

// Run traces connections and reports those on which the bridge and the policies
// differ. progress hears how many are traced, from several goroutines; it may be
// nil.
func (c *Checker) Run(ctx context.Context, req api.VerdictRequest, progress func(done, all int)) (*api.VerdictReport, error) {
	if req.Max < 0 || req.Max > maxMax {
		return nil, fmt.Errorf("max: %d is not in 0-%d", req.Max, maxMax)
	}
	if req.Seconds < 0 || req.Seconds > maxSeconds {
		return nil, fmt.Errorf("seconds: %d is not in 0-%d", req.Seconds, maxSeconds)
	}
	if !c.one.TryLock() {
		return nil, errors.New("the verdicts are being checked already, for somebody else")
	}
	defer c.one.Unlock()
	if req.Max == 0 {
		req.Max = defaultMax
	}
	if req.Seconds == 0 {
		req.Seconds = defaultSeconds
	}
	for req.Seed == 0 {
		// Small enough to be a number in any JSON.
		req.Seed = uint64(rand.Uint32())
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(req.Seconds)*time.Second)
	defer cancel()
	s, node, err := c.look(limited)
	if err != nil {
		return nil, err
	}
	shuffle := rand.New(rand.NewPCG(req.Seed, 1<<63)).Perm
	space := newSpace(s, s.outside(node, c.cfg.Ranges(), shuffle))
	probes, all := space.draw(req.Max, req.Seed)
	report := &api.VerdictReport{
		Node: c.cfg.Node, Time: time.Now(), Seed: req.Seed, Possible: all, Unknown: s.unknown, Differences: []api.VerdictDifference{},
	}
	r := &run{checker: c, report: report, snapshot: s}
	group, running := errgroup.WithContext(limited)
	group.SetLimit(workers)
	var done atomic.Int64
	for i := range probes {
		if running.Err() != nil {
			break
		}
		group.Go(func() error {
			if err := r.probe(running, &probes[i]); err != nil {
				return err
			}
			if n := done.Add(1); progress != nil {
				progress(int(n), len(probes))
			}
			return nil
		})
	}
	err = group.Wait()
	report.Traced = int(done.Load())
	if limited.Err() != nil && ctx.Err() == nil {
		report.TimeUp, err = report.Traced < len(probes), nil
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(report.Differences, compareDifferences)
	return report, context.Cause(ctx)
}

// look returns the store as of now, when the bridge holds what follows from it.
func (c *Checker) look(ctx context.Context) (*snapshot, flows.Node, error) {
	var node flows.Node
	var ports map[string]policy.LocalPort
	var failed error
	err := c.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		if node, failed = v.Node(); failed != nil {
			return
		}
		if !v.Ready() {
			failed = errors.New("the bridge does not hold yet what it should")
		}
		ports = make(map[string]policy.LocalPort, len(v.Ports()))
		for name, p := range v.Ports() {
			ports[name] = p
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, node, fmt.Errorf("check verdicts: %w", err)
	}
	s := c.cfg.Store.snapshot(c.cfg.Node, ports, node.Addrs, c.cfg.PortAddresses)
	if err := c.cfg.Enforcer.Sync(ctx); err != nil {
		return nil, node, fmt.Errorf("check verdicts: wait for the bridge: %w", err)
	}
	return s, node, nil
}

// run is a run that is under way.
type run struct {
	checker *Checker

	mu       sync.Mutex
	snapshot *snapshot
	report   *api.VerdictReport
}

func (r *run) now() *snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.snapshot
}

// attempts is how often a connection is asked about anew because the cluster has
// changed meanwhile.
const attempts = 5

// probe asks both about a connection. Where they differ it asks again, with the
// cluster as it is then: what has changed in between is no difference, and one
// counts if it is seen twice of the same cluster.
func (r *run) probe(ctx context.Context, p *probe) error {
	var differed *snapshot
	for range attempts {
		s := r.now()
		conn := p.conn()
		expected := s.judge(conn)
		x, err := r.checker.cfg.Observer.Trace(ctx, p.request())
		if err != nil {
			if bad := (*observe.BadRequest)(nil); errors.As(err, &bad) {
				return nil // the pod is gone
			}
			return err
		}
		if (x.Verdict == api.Allowed) == expected.AllowedOn(s.node) {
			return nil
		}
		if differed != nil && differed.version == s.version {
			r.differ(p, x, expected, s.node)
			return nil
		}
		differed = s
		fresh, _, err := r.checker.look(ctx)
		if err != nil {
			return err
		}
		if !fresh.has(p.src) || !fresh.has(p.dst) {
			return nil
		}
		r.mu.Lock()
		if fresh.version > r.snapshot.version {
			r.snapshot = fresh
		}
		r.mu.Unlock()
	}
	return nil // it changes all the time
}

// has reports whether an end is still there, if it is a pod of this node.
func (s *snapshot) has(e *end) bool {
	return e.port == "" || slices.ContainsFunc(s.local, func(l end) bool {
		return l.port == e.port && l.pod == e.pod && slices.Equal(l.addrs, e.addrs)
	})
}

func (p *probe) conn() oracle.Conn {
	at := func(e *end) oracle.Endpoint {
		return oracle.Endpoint{Pod: oracle.Key(e.pod), Addr: e.addr(p.family)}
	}
	return oracle.Conn{Src: at(p.src), Dst: at(p.dst), Protocol: p.protocol, Port: p.port, FromOwnNode: p.src.node}
}

func (p *probe) request() api.TraceRequest {
	return api.TraceRequest{
		From: p.src.addr(p.family).String(), To: p.dst.addr(p.family).String(),
		Protocol: strings.ToLower(string(p.protocol)), Port: p.port, Family: p.family,
	}
}

func (r *run) differ(p *probe, x *api.Explanation, expected oracle.Verdict, node string) {
	d := api.VerdictDifference{
		From: p.src.name, To: p.dst.name, Protocol: strings.ToLower(string(p.protocol)), Port: p.port, Family: p.family,
		Bridge: x.Verdict, BridgeReason: x.Reason, Policies: api.Denied, PoliciesReason: why(expected, node),
	}
	if expected.AllowedOn(node) {
		d.Policies = api.Allowed
	}
	if n := len(x.Steps); n > 0 {
		last := x.Steps[n-1]
		d.Flow = fmt.Sprintf("table=%s, priority=%d, %s actions=%s (%s)", last.Table, last.Priority, last.Match, strings.Join(last.Actions, ","), last.Object)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.report.Differences) < maxDifferences {
		r.report.Differences = append(r.report.Differences, d)
	} else {
		r.report.More++
	}
}
