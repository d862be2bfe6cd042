package verdict

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/unixctl"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Rates are how many packets a second the bridge tells of: few enough for
// ovs-vswitchd and the agent to spend some hundredths of a core on, and a port's
// part small enough for others to be heard beside one that floods.
var Rates = flows.Watch{PerPort: 100, Denied: 1000, Allowed: 1000}

// Denials are the rates while nobody asks for what is allowed.
func Denials(rates flows.Watch) flows.Watch {
	rates.Allowed = 0
	return rates
}

const (
	// queueSize is how many packets may wait to be decoded.
	queueSize = 2048
	// knownTime is how long until it is looked again whether the cluster is known.
	knownTime = 20 * time.Millisecond
	// batchSize and batchTime bound how many packets are decoded with one look at the
	// enforcer's state, and how long the first of them waits for more.
	batchSize = 256
	batchTime = 10 * time.Millisecond
	// recentSize is how many events are kept for readers that come later.
	recentSize = 4096
)

// Config says what to tell of.
type Config struct {
	// Node is the name of this node.
	Node     string
	Bridge   *openflow.Bridge
	Enforcer *enforce.Enforcer
	// Rates are the meters' rates; Rates if zero.
	Rates flows.Watch
	// Vswitchd is as in observe.Config: to know when packets are followed that the
	// datapath's cache knows.
	Vswitchd func() (*unixctl.Client, error)
	// Network is as in observe.Config: where packets go on that leave for another node.
	Network func() (mode nodes.Mode, tunnel string, plan *nodes.Plan)
}

// Stream tells of the verdicts of one bridge. It is safe for concurrent use.
type Stream struct {
	cfg  Config
	raw  chan sample
	poke chan struct{} // has one place: what is asked for may have changed
	done chan struct{} // closed when Run has ended

	lost     atomic.Uint64
	dropped  atomic.Uint64 // of raw, for want of room
	counters counters
	live     atomic.Pointer[chan copied] // who follows packets, nil if nobody does

	following chan struct{} // whoever follows packets has it

	mu      sync.Mutex
	seq     uint64
	allowed uint64       // events of what is allowed, among seq
	recent  []*api.Event // a ring: the event seq is at seq modulo its size
	readers map[*Reader]struct{}
	offline error // why no packets come
	closed  bool
}

// sample is a packet as the bridge told of it.
type sample struct {
	at     time.Time
	packet *openflow.PacketIn
}

// New returns a stream that tells nothing until Run. Its enforcer should have
// Denials as its Watch from the beginning, so that nothing changes at a restart.
func New(cfg Config) *Stream {
	if cfg.Rates == (flows.Watch{}) {
		cfg.Rates = Rates
	}
	return &Stream{
		cfg: cfg, raw: make(chan sample, queueSize), poke: make(chan struct{}, 1), following: make(chan struct{}, 1), done: make(chan struct{}),
		readers: map[*Reader]struct{}{},
	}
}

// Run listens to the bridge until ctx is done. Readers are told then that the
// stream has ended.
func (s *Stream) Run(ctx context.Context) error {
	defer close(s.done)
	defer s.end()
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { s.explain(ctx) })
	parts.Go(func() { s.keepWatch(ctx) })
	parts.Go(func() { s.count(ctx) })
	// It ends only with ctx.
	_ = s.cfg.Bridge.Listen(ctx, s.arrive, s.connected)
	return nil
}

// arrive is called by the goroutine that reads the connection, and never waits.
func (s *Stream) arrive(p *openflow.PacketIn) {
	if s.arriveLive(p) {
		return
	}
	select {
	case s.raw <- sample{time.Now(), p}:
	default:
		s.dropped.Add(1)
	}
}

// connected notes whether packets can come. An ovs-vswitchd that has started anew
// may have meters where the one before had none.
func (s *Stream) connected(err error) {
	s.mu.Lock()
	s.offline = err
	s.mu.Unlock()
	if err == nil {
		s.wakeUp()
	}
}

func (s *Stream) wakeUp() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// explain makes events of packets, batch by batch. What flows of an earlier agent
// tell of waits until the cluster is known.
func (s *Stream) explain(ctx context.Context) {
	d := newDecoder()
	if s.awaitKnown(ctx) != nil {
		return
	}
	for {
		batch, err := s.batch(ctx)
		if err != nil {
			return
		}
		events := make([]*api.Event, 0, len(batch))
		err = s.cfg.Enforcer.Look(ctx, func(v enforce.View) {
			n := newNames(v)
			for _, raw := range batch {
				p := raw.packet
				if told, ok := flows.ReadTold(flows.Cookie(p.Cookie), p.InPort(), p.Registers()); ok {
					e := n.event(told, d.read(p.Packet))
					e.Time, e.Node = raw.at, s.cfg.Node
					events = append(events, e)
				}
			}
		})
		if err != nil {
			return // the enforcer has stopped, or ctx is done
		}
		s.publish(events)
	}
}

// awaitKnown waits until events can have names.
func (s *Stream) awaitKnown(ctx context.Context) error {
	tick := time.NewTicker(knownTime)
	defer tick.Stop()
	for {
		known := false
		if err := s.cfg.Enforcer.Look(ctx, func(v enforce.View) { known = v.Known() }); err != nil || known {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// batch waits for packets and takes those that come with them.
func (s *Stream) batch(ctx context.Context) ([]sample, error) {
	var out []sample
	var late <-chan time.Time
	for len(out) < batchSize {
		select {
		case p := <-s.raw:
			if out = append(out, p); late == nil {
				late = time.After(batchTime)
			}
		case <-late:
			return out, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return out, nil
}

func (s *Stream) publish(events []*api.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		s.seq++
		e.Seq = s.seq
		if e.Verdict == api.Allowed {
			s.allowed++
		}
		if len(s.recent) < recentSize {
			s.recent = append(s.recent, e)
		} else {
			s.recent[(e.Seq-1)%recentSize] = e
		}
		for r := range s.readers {
			r.put(e)
		}
	}
}

// Read returns a reader that gets up to last of the recent events that its filter
// wants, and then all that come.
func (s *Stream) Read(f api.WatchFilter, last int) *Reader {
	r := &Reader{filter: f, stream: s, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(r.closed)
		return r
	}
	r.queue = s.latest(f, min(last, readerQueue))
	s.readers[r] = struct{}{}
	if f.Allows {
		s.wakeUp()
	}
	return r
}

// Recent returns up to last of the recent events that a filter wants, the oldest
// first.
func (s *Stream) Recent(f api.WatchFilter, last int) []*api.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest(f, min(last, recentSize))
}

func (s *Stream) latest(f api.WatchFilter, last int) []*api.Event {
	var out []*api.Event
	for i := s.seq; i > 0 && s.seq-i < uint64(len(s.recent)) && len(out) < last; i-- {
		if e := s.recent[(i-1)%recentSize]; f.Match(e) {
			out = append(out, e)
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func (s *Stream) remove(r *Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.readers[r]; there {
		delete(s.readers, r)
		close(r.closed)
		if r.filter.Allows {
			s.wakeUp()
		}
	}
}

// end closes all readers.
func (s *Stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for r := range s.readers {
		close(r.closed)
	}
	clear(s.readers)
}

// allows reports whether some reader asks for what is allowed.
func (s *Stream) allows() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.readers {
		if r.filter.Allows {
			return true
		}
	}
	return false
}
