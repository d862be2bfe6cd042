package traffic

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ti-mo/conntrack"
	"github.com/ti-mo/netfilter"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/statefile"
)

// Config says how to count.
type Config struct {
	// Counts returns why the bridge's datapath counts nothing, nil if it does. Nothing
	// is asked of the kernel as long as it does not.
	Counts func() error
	// Gone returns which of some rules are no more: their totals are dropped.
	Gone func(context.Context, []Rule) ([]Rule, error)
	// File keeps the totals over restarts; empty keeps nothing.
	File string
	// Interval is how often the connections that live are looked at; zero means
	// DefaultInterval.
	Interval time.Duration
}

// DefaultInterval is Config.Interval where none is given.
const DefaultInterval = 15 * time.Second

const (
	// readBuffer holds some 10,000 events that have not been read, in bytes.
	readBuffer = 4 << 20
	// retryInterval is how often it is looked whether the kernel counts now.
	retryInterval = time.Second
	// forgetInterval is how often rules that are gone are looked for.
	forgetInterval = time.Hour
)

// Tracker keeps the totals. Its methods are safe for concurrent use.
type Tracker struct {
	cfg Config

	mu sync.Mutex
	account
	failed error // why nothing is counted now
	lost   uint64
}

// state is what the file holds.
type state struct {
	Rules map[Rule]Count         `json:"rules"`
	Sums  [2]Count               `json:"sums"`
	Live  map[uint32]*connection `json:"live"`
}

// New returns a tracker with the totals of the file, if there are some.
func New(ctx context.Context, cfg Config) *Tracker {
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	t := &Tracker{cfg: cfg, account: newAccount(), failed: errors.New("not begun yet")}
	if cfg.File == "" {
		return t
	}
	var s state
	if err := statefile.Read(cfg.File, &s); err != nil {
		klog.FromContext(ctx).Info("Traffic is counted anew", "err", err)
		return t
	}
	for r, n := range s.Rules {
		t.rules[r] = &n
	}
	t.sums = s.Sums
	for id, c := range s.Live {
		if c != nil {
			t.live[id] = c
		}
	}
	return t
}

// Rule returns what connections that a rule allowed have carried.
func (t *Tracker) Rule(r Rule) Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := t.rules[r]; n != nil {
		return *n
	}
	return Count{}
}

// Sum returns the total of all rules of a direction, those that are gone as well.
func (t *Tracker) Sum(d flows.Direction) Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sums[d]
}

// Err returns why nothing is counted, nil if it is.
func (t *Tracker) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// Lost returns how often events of the kernel were lost. What connections that
// ended then had carried since they were last looked at is not in the totals.
func (t *Tracker) Lost() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}

// Run counts until ctx is done.
func (t *Tracker) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	for ctx.Err() == nil {
		err := t.counts()
		if err == nil {
			err = t.session(ctx)
			if ctx.Err() != nil {
				break
			}
			logger.Info("Lost the kernel's events of connections, beginning again", "err", err)
			t.mu.Lock()
			t.lost++
			t.mu.Unlock()
		}
		t.fail(err)
		select {
		case <-ctx.Done():
		case <-time.After(min(t.cfg.Interval, retryInterval)):
		}
	}
	t.save(ctx)
	return nil
}

func (t *Tracker) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = err
}

// accounting is the sysctl that has the kernel count.
const accounting = "/proc/sys/net/netfilter/nf_conntrack_acct"

// counts returns why nothing can be counted now.
func (t *Tracker) counts() error {
	if err := t.cfg.Counts(); err != nil {
		return err
	}
	text, err := os.ReadFile(accounting)
	if err != nil {
		return fmt.Errorf("the kernel does not say whether it counts: %w", err)
	}
	if strings.TrimSpace(string(text)) != "1" {
		return errors.New("net.netfilter.nf_conntrack_acct is not 1 on this node")
	}
	return nil
}

// session counts over one connection to the kernel, until that fails.
func (t *Tracker) session(ctx context.Context) error {
	events, errs, end, err := listen()
	if err != nil {
		return err
	}
	defer end()
	dumper, err := conntrack.Dial(nil)
	if err != nil {
		return fmt.Errorf("connect to the kernel's connection tracker: %w", err)
	}
	defer dumper.Close()
	look := time.NewTicker(t.cfg.Interval)
	defer look.Stop()
	forget := time.NewTicker(forgetInterval)
	defer forget.Stop()
	if err := t.dump(dumper); err != nil {
		return err
	}
	t.fail(nil)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-errs:
			return fmt.Errorf("events of connections: %w", err)
		case ev := <-events:
			t.event(ev)
		case <-forget.C:
			t.forget(ctx)
		case <-look.C:
			if err := t.counts(); err != nil {
				return err
			}
			if err := t.dump(dumper); err != nil {
				return err
			}
			t.save(ctx)
		}
	}
}

// listen opens a stream of events; end ends it.
func listen() (events chan conntrack.Event, errs chan error, end func(), err error) {
	c, err := conntrack.Dial(nil)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("connect to the kernel's connection tracker: %w", err)
	}
	if err = c.SetReadBuffer(readBuffer); err == nil {
		events = make(chan conntrack.Event, 1024)
		// One worker: events of one connection must not overtake each other.
		errs, err = c.Listen(events, 1, []netfilter.NetlinkGroup{netfilter.GroupCTNew, netfilter.GroupCTDestroy})
	}
	if err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("listen to the kernel's connection tracker: %w", err), c.Close())
	}
	end = func() {
		// The worker may wait until somebody takes its event or error.
		closed := make(chan struct{})
		go func() { c.Close(); close(closed) }()
		for {
			select {
			case <-events:
			case <-errs:
			case <-closed:
				return
			}
		}
	}
	return events, errs, end, nil
}

func (t *Tracker) event(ev conntrack.Event) {
	if ev.Flow == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch ev.Type {
	case conntrack.EventNew:
		t.begin(ev.Flow)
	case conntrack.EventDestroy:
		t.end(ev.Flow)
	}
}

// dump looks at the connections that live. Kernels before 6.8 pass over the zone
// and send those of all.
func (t *Tracker) dump(c *conntrack.Conn) error {
	var all []conntrack.Flow
	for _, zone := range []uint16{flows.ZoneIPv4, flows.ZoneIPv6} {
		fs, err := c.DumpFilter(conntrack.NewFilter().Zone(zone), nil)
		if err != nil {
			return fmt.Errorf("list connections of zone %d: %w", zone, err)
		}
		for i := range fs {
			if fs[i].Zone == zone {
				all = append(all, fs[i])
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dumped(all, time.Now())
	return nil
}

// forget drops the totals of rules that are gone.
func (t *Tracker) forget(ctx context.Context) {
	t.mu.Lock()
	var rules []Rule
	for r := range t.rules {
		rules = append(rules, r)
	}
	t.mu.Unlock()
	gone, err := t.cfg.Gone(ctx, rules)
	if err != nil {
		return // the next time
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range gone {
		delete(t.rules, r)
	}
}

// save keeps totals and connections together: what is accounted of each belongs to
// the totals.
func (t *Tracker) save(ctx context.Context) {
	if t.cfg.File == "" {
		return
	}
	t.mu.Lock()
	s := state{Rules: make(map[Rule]Count, len(t.rules)), Sums: t.sums, Live: maps.Clone(t.live)}
	for r, n := range t.rules {
		s.Rules[r] = *n
	}
	for id, c := range t.live {
		copied := *c
		s.Live[id] = &copied
	}
	t.mu.Unlock()
	if err := statefile.Write(t.cfg.File, s); err != nil {
		klog.FromContext(ctx).Error(err, "Could not keep the totals of traffic")
	}
}
