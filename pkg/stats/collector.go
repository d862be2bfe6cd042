package stats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// Config says what to count.
type Config struct {
	Bridge *openflow.Bridge
	// Generation names the run of ovs-vswitchd: the counters of another run have
	// begun at zero.
	Generation func() (string, error)
	// Look shows the enforcer's state, as (*enforce.Enforcer).Look does.
	Look func(context.Context, func(enforce.View)) error
	// File keeps the totals over restarts of the agent; empty keeps nothing.
	File string
	// Interval is how often counters are read though nobody asks; zero means
	// DefaultInterval.
	Interval time.Duration
	// Fresh is how old a reading may be that is good enough for who asks; zero means
	// DefaultFresh.
	Fresh time.Duration
}

// DefaultInterval and DefaultFresh are what Config has where nothing is given.
const (
	DefaultInterval = 15 * time.Second
	DefaultFresh    = time.Second
)

// Collector keeps totals. Its methods are safe for concurrent use.
type Collector struct {
	cfg     Config
	reading chan struct{} // whoever has it reads the counters
	saving  chan struct{} // has one place: there is something to save soon

	mu sync.Mutex
	totals
	slots map[slotID]*slot
	// known says that the slots are those of the bridge. They change in the
	// enforcer's loop only.
	known      bool
	generation string
	read       time.Time // when everything was last read
	// seq counts bundles that concern slots; touched has which bundle concerned a
	// slot last, since the reading that is under way began; floor is the bundle from
	// which on all readings from before are void.
	seq, floor uint64
	touched    map[slotID]uint64
	changed    bool // since the totals were saved
}

// New returns a collector with the totals of the file, if there are some.
func New(ctx context.Context, cfg Config) *Collector {
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	if cfg.Fresh <= 0 {
		cfg.Fresh = DefaultFresh
	}
	c := &Collector{
		cfg: cfg, reading: make(chan struct{}, 1), saving: make(chan struct{}, 1),
		totals: newTotals(time.Now()), slots: map[slotID]*slot{}, touched: map[slotID]uint64{},
	}
	if err := c.load(); err != nil {
		klog.FromContext(ctx).Info("Statistics begin anew", "err", err)
	}
	return c
}

// Run reads the counters now and then, and keeps the totals, until ctx is done.
func (c *Collector) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	tick := time.NewTicker(c.cfg.Interval)
	defer tick.Stop()
	save := func() {
		if err := c.save(); err != nil {
			logger.Error(err, "Could not keep the statistics")
		}
	}
	defer save()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.saving:
			save()
		case <-tick.C:
			if err := c.Collect(ctx); err != nil && !errors.Is(err, errNotReady) && ctx.Err() == nil {
				logger.V(2).Info("Could not read the flows' counters", "err", err)
			}
			save()
		}
	}
}

var errNotReady = errors.New("the bridge does not hold yet what it should")

// Collect reads the counters, unless that was done just now (Config.Fresh).
func (c *Collector) Collect(ctx context.Context) error {
	select {
	case c.reading <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.reading }()
	c.mu.Lock()
	fresh := time.Since(c.read) < c.cfg.Fresh
	c.mu.Unlock()
	if fresh {
		return nil
	}
	// No bundle is under way while the loop shows its state: what begins after this
	// is noted in touched.
	var begun uint64
	ready := false
	if err := c.cfg.Look(ctx, func(v enforce.View) {
		c.mu.Lock()
		defer c.mu.Unlock()
		begun, ready = c.seq, v.Ready()
		clear(c.touched)
	}); err != nil {
		return err
	}
	if !ready {
		return errNotReady
	}
	r, err := c.readCounters(ctx, allQueries)
	if err != nil {
		return err
	}
	return c.cfg.Look(ctx, func(v enforce.View) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if begun >= c.floor {
			c.apply(v, r, begun)
		}
	})
}

// readings are counters read at one time, of one run of ovs-vswitchd.
type readings struct {
	generation string
	slots      map[slotID]*current
}

// current is what stands in a slot.
type current struct {
	cookie  flows.Cookie
	conjID  uint32
	packets uint64
	age     time.Duration
}

func (c *Collector) readCounters(ctx context.Context, queries []openflow.CounterQuery) (*readings, error) {
	generation, err := c.cfg.Generation()
	if err != nil {
		return nil, err
	}
	r := &readings{generation, map[slotID]*current{}}
	if err := c.cfg.Bridge.EachCounter(ctx, queries, func(n openflow.Counter) {
		cookie := flows.Cookie(n.Cookie)
		now := r.slots[idOf(cookie)]
		if now == nil {
			now = &current{cookie: cookie, conjID: n.ConjID}
			r.slots[idOf(cookie)] = now
		}
		now.packets += n.Packets
		now.age = max(now.age, n.Age)
	}); err != nil {
		return nil, err
	}
	switch now, err := c.cfg.Generation(); {
	case err != nil:
		return nil, err
	case now != generation:
		return nil, fmt.Errorf("ovs-vswitchd has restarted meanwhile")
	}
	return r, nil
}

// apply takes over readings of all slots, but of those that a bundle has concerned
// since. It is called from the enforcer's loop, with the lock held.
func (c *Collector) apply(v enforce.View, r *readings, begun uint64) {
	now := time.Now()
	c.renew(r.generation)
	ports := portNames(v)
	skip := func(id slotID) bool { return c.touched[id] > begun }
	for id, n := range r.slots {
		if !skip(id) {
			c.take(v, id, n, ports, now)
		}
	}
	for id := range c.slots {
		if r.slots[id] == nil && !skip(id) {
			c.close(id, now)
		}
	}
	for key, n := range c.policies {
		if there := v.Compiler().Has(key); there {
			n.Gone = time.Time{}
		} else if n.Gone.IsZero() {
			n.Gone = now
		}
	}
	c.forget(now)
	c.known, c.read = true, now
}

// renew has all slots begin at zero if ovs-vswitchd is another.
func (c *Collector) renew(generation string) {
	if generation == c.generation {
		return
	}
	c.generation, c.changed = generation, true
	for _, s := range c.slots {
		s.Last = 0
	}
}

// take takes over one reading.
func (c *Collector) take(v enforce.View, id slotID, n *current, ports map[uint32]string, now time.Time) {
	s := c.slots[id]
	if s == nil {
		s = describe(v, n.cookie, n.conjID, ports)
		c.slots[id] = s
		c.open(s, now.Add(-n.age))
	}
	delta := n.packets - s.Last
	if n.packets < s.Last { // somebody else has written the flow anew
		delta = n.packets
	}
	s.Last, s.Kind = n.packets, n.cookie.Kind()
	if delta == 0 {
		return
	}
	c.changed = true
	if s.Port != "" {
		s.By = v.Compiler().Isolating(s.Pod, directionOf(s.Kind))
	}
	c.credit(s, delta, now)
}

// close ends a slot whose flow is gone.
func (c *Collector) close(id slotID, now time.Time) {
	s := c.slots[id]
	if s == nil {
		return
	}
	delete(c.slots, id)
	c.changed = true
	if n := c.rules[s.Rule]; n != nil {
		n.Gone = now
	}
	if n := c.ports[s.Port]; n != nil {
		n.Gone = now
	}
}

// Rule returns the totals of a rule.
func (c *Collector) Rule(k flows.RuleKey) (Count, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return value(c.rules[k])
}

// Policy returns the totals of a policy.
func (c *Collector) Policy(k cluster.Key) (PolicyCount, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return value(c.policies[k])
}

// Port returns the totals of a port by its name.
func (c *Collector) Port(name string) (PortCount, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return value(c.ports[name])
}

// Verdicts returns the totals of all flows of each kind, those that are gone as
// well, by kind.
func (c *Collector) Verdicts() []Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Verdict, 0, len(flows.CountedKinds))
	for _, k := range flows.CountedKinds {
		out = append(out, Verdict{k.Kind, c.verdicts[k.Kind]})
	}
	return out
}

// Rules returns the totals of all rules.
func (c *Collector) Rules() map[flows.RuleKey]Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	return values(c.rules)
}

func value[T any](p *T) (v T, ok bool) {
	if p == nil {
		return v, false
	}
	return *p, true
}
