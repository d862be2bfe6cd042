package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

const (
	scaleServices   = 10_000
	scaleBase       = 1_000 // the reference of what grows
	scaleEndpoints  = 10
	largeServiceHas = 5_000
)

// scaled is a bridge that balances Services by the agent's own path: events of the
// cluster go in, an enforcer writes bundles.
type scaled struct {
	*switchboard
	e    *enforce.Enforcer
	stop func()
	// last is the last bundle.
	last *openflow.Transaction
}

// Writing takes note of a bundle.
func (s *scaled) Writing(_ context.Context, _ enforce.View, tx *openflow.Transaction) func(error) {
	s.last = tx
	return func(error) {}
}

func newScaled(ctx context.Context) (*scaled, error) {
	board, err := newSwitchboardOn(ctx, sandbox.Dummy)
	if err != nil {
		return nil, err
	}
	s := &scaled{switchboard: board}
	s.start(ctx)
	s.e.Emit([]cluster.Event{{Synced: true}})
	return s, s.e.Sync(ctx)
}

// start starts an enforcer, which knows nothing of the cluster.
func (s *scaled) start(ctx context.Context) {
	s.e = enforce.New(enforce.Config{Node: "n1", Bridge: s.Bridge, Services: true, Counters: s})
	running, cancel := context.WithCancel(ctx)
	var ended sync.WaitGroup
	ended.Go(func() { _ = s.e.Run(running) })
	s.stop = func() { cancel(); ended.Wait() }
	node := *nodeOf()
	node.UserspaceConntrack = true
	node.ServiceHops = []netip.Addr{netip.MustParseAddr("169.254.0.252")}
	node.ServiceSources = []netip.Addr{netip.MustParseAddr("10.244.15.254")}
	node.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}
	s.e.SetNode(node)
}

func (s *scaled) close() error {
	s.stop()
	return s.switchboard.close()
}

// tell tells of events and returns when they are on the bridge.
func (s *scaled) tell(ctx context.Context, events ...cluster.Event) error {
	s.e.Emit(events)
	return s.e.Sync(ctx)
}

// scaleService returns the i-th Service.
func scaleService(i int) cluster.Event {
	return cluster.Event{Service: &cluster.Service{
		Key: cluster.Key{Namespace: benchNamespace, Name: fmt.Sprintf("s%d", i)}, ClusterIPs: []netip.Addr{address("10.96.0.1", i)},
		Ports: []cluster.ServicePort{{Protocol: "TCP", Port: 80}},
	}}
}

// scaleSlice returns the endpoints of the i-th Service: some after the first-th
// address.
func scaleSlice(i, first, endpoints int) cluster.Event {
	s := &cluster.EndpointSlice{
		Key: cluster.Key{Namespace: benchNamespace, Name: fmt.Sprintf("s%d-1", i)}, Service: fmt.Sprintf("s%d", i),
		Ports: []cluster.EndpointPort{{Protocol: "TCP", Port: 8080}},
	}
	for e := range endpoints {
		s.Endpoints = append(s.Endpoints, cluster.Endpoint{Addr: address("10.128.0.0", first+e), Node: "elsewhere", Ready: true, Serving: true})
	}
	return cluster.Event{Slice: s}
}

// benchServiceScale has 10,000 Services of 10 endpoints on the bridge, and one of
// 5,000. The reference of what should not grow is the same with a tenth of the
// Services, that of a first bundle ovs-ofctl with the same changes on an empty
// bridge.
func benchServiceScale(ctx context.Context, r *report) error {
	base, err := standServices(ctx, nil, scaleBase)
	if err != nil {
		return err
	}
	if err := base.close(); err != nil {
		return err
	}
	many, err := standServices(ctx, r, scaleServices)
	if err != nil {
		return err
	}
	of := fmt.Sprintf("with %d Services", scaleBase)
	what := fmt.Sprintf("%d Services of %d endpoints: ", scaleServices, scaleEndpoints)
	r.against(what+"ovs-vswitchd's memory, per Service", per(many.vswitchd, scaleServices), per(base.vswitchd, scaleBase), of)
	r.against(what+"the agent's heap, per Service, beside the objects", per(many.heap, scaleServices), per(base.heap, scaleBase), of)
	r.latencies(what+"an endpoint's event to bundle committed", many.change, base.change, of)
	if err := many.benchRestart(ctx, r); err != nil {
		return errors.Join(err, many.close())
	}
	return many.benchLarge(ctx, r)
}

// benchRestart has a new enforcer take the bridge over, where there is nothing to
// change. The reference reads the bridge by ovs-ofctl.
func (s *standing) benchRestart(ctx context.Context, r *report) error {
	var ours, theirs times
	for range rounds {
		s.stop()
		s.last = nil
		s.start(ctx)
		took, err := clock(func() error { return s.tell(ctx, append(s.events, cluster.Event{Synced: true})...) })
		if err != nil {
			return err
		}
		if s.last != nil {
			return fmt.Errorf("a restart has written %d changes", s.last.Len())
		}
		ours = append(ours, took)
		took, err = clock(func() error {
			return errors.Join(s.ofctl(ctx, "dump-groups", s.Target()).Run(), s.ofctl(ctx, "--no-stats", "dump-flows", s.Target()).Run())
		})
		if err != nil {
			return err
		}
		theirs = append(theirs, took)
	}
	r.against(fmt.Sprintf("%d Services of %d endpoints: a restart that changes nothing", s.n, scaleEndpoints), seconds(ours.percentile(50)),
		seconds(theirs.percentile(50)), "ovs-ofctl dump-groups and dump-flows")
	return nil
}

func per(bytes uint64, n int) quantity { return size(float64(bytes) / float64(n)) }

// standing are Services on a bridge and what they cost.
type standing struct {
	*scaled
	n        int
	events   []cluster.Event // all that tell of them
	vswitchd uint64          // resident, beyond what it was before
	heap     uint64          // in use, beyond what it was before
	change   times           // of one endpoint, from the event to the bundle
}

// standServices has n Services on a bridge of their own and measures them; r may be nil.
func standServices(ctx context.Context, r *report, n int) (_ *standing, err error) {
	s, err := newScaled(ctx)
	if err != nil {
		return nil, err
	}
	out := &standing{scaled: s, n: n}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for i := range n {
		out.events = append(out.events, scaleService(i), scaleSlice(i, i*scaleEndpoints, scaleEndpoints))
	}
	pid, err := pidOf(s.ovs)
	if err != nil {
		return nil, err
	}
	heapBefore := heap()
	_, residentBefore, err := usage(pid)
	if err != nil {
		return nil, err
	}
	first, err := clock(func() error { return s.tell(ctx, out.events...) })
	if err != nil {
		return nil, err
	}
	_, residentAfter, err := usage(pid)
	if err != nil {
		return nil, err
	}
	bundle := s.last
	s.last = nil
	out.vswitchd = residentAfter - residentBefore
	if r != nil {
		what := fmt.Sprintf("%d Services of %d endpoints: ", n, scaleEndpoints)
		reference, _, err := ofctlBundle(ctx, bundle)
		if err != nil {
			return nil, err
		}
		_, groups, err := ofctlBundle(ctx, &openflow.Transaction{SetGroups: bundle.SetGroups})
		if err != nil {
			return nil, err
		}
		r.against(what+"events to first bundle committed", seconds(first), seconds(reference), "ovs-ofctl bundle of the same changes from a file")
		r.figure(what+"flows", count(len(bundle.Add)))
		r.figure(what+"groups", count(len(bundle.SetGroups)))
		r.figure(what+"ovs-vswitchd's memory before", size(residentBefore))
		r.figure(what+"ovs-vswitchd's memory after", size(residentAfter))
		r.figure(what+"of it for the groups, per Service", per(groups-residentBefore, n))
	}
	bundle = nil
	out.heap = heap() - heapBefore
	const changes = 200
	for i := range changes {
		for _, endpoints := range []int{scaleEndpoints - 1, scaleEndpoints} {
			e := scaleSlice(i, i*scaleEndpoints, endpoints)
			took, err := clock(func() error { return s.tell(ctx, e) })
			if err != nil {
				return nil, err
			}
			out.change = append(out.change, took)
		}
	}
	return out, nil
}

// benchLarge measures a Service of very many endpoints beside those that stand, and
// closes the bridge.
func (s *standing) benchLarge(ctx context.Context, r *report) (err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	const firstAddress = scaleServices * scaleEndpoints
	e := scaleSlice(s.n, firstAddress, largeServiceHas)
	first, err := clock(func() error { return s.tell(ctx, scaleService(s.n), e) })
	if err != nil {
		return err
	}
	whole := s.last
	what := fmt.Sprintf("one Service of %d endpoints: ", largeServiceHas)
	reference, _, err := ofctlBundle(ctx, whole)
	if err != nil {
		return err
	}
	r.against(what+"events to bundle committed", seconds(first), seconds(reference), "ovs-ofctl bundle of the same changes from a file")
	r.figure(what+"groups", count(len(whole.SetGroups)))
	const changes = 50
	var more, less times
	var moreBytes int
	for range changes {
		for _, endpoints := range []int{largeServiceHas + 1, largeServiceHas} {
			e := scaleSlice(s.n, firstAddress, endpoints)
			took, err := clock(func() error { return s.tell(ctx, e) })
			if err != nil {
				return err
			}
			if endpoints > largeServiceHas {
				more, moreBytes = append(more, took), len(s.last.String())
			} else {
				less = append(less, took)
			}
		}
	}
	r.against(what+"one endpoint more: bundle", size(moreBytes), size(len(whole.String())), "the first bundle")
	r.latencies(what+"one endpoint more: event to bundle committed", more, s.change, fmt.Sprintf("an endpoint of a Service of %d", scaleEndpoints))
	r.latencies(what+"one endpoint less: event to bundle committed", less, s.change, "the same")
	return nil
}

// ofctlBundle times ovs-ofctl with a bundle on an empty bridge of its own, and
// returns how much memory its ovs-vswitchd has then.
func ofctlBundle(ctx context.Context, tx *openflow.Transaction) (took time.Duration, memory uint64, err error) {
	s, err := newSwitchboardOn(ctx, sandbox.Dummy)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	file := filepath.Join(s.ovs.RunDir(), "bundle")
	if err := os.WriteFile(file, []byte(tx.String()), 0o600); err != nil {
		return 0, 0, err
	}
	if took, err = clock(s.ofctl(ctx, "bundle", s.Target(), file).Run); err != nil {
		return 0, 0, err
	}
	pid, err := pidOf(s.ovs)
	if err == nil {
		_, memory, err = usage(pid)
	}
	return took, memory, err
}
