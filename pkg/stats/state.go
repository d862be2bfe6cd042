package stats

import (
	"fmt"
	"maps"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/statefile"
)

// stateVersion is that of the file's form. A file of another is not read.
const stateVersion = 1

// state is what the file holds: totals, and the readings they go up to.
type state struct {
	Version    int                     `json:"version"`
	Generation string                  `json:"generation"`
	Since      time.Time               `json:"since"`
	Verdicts   map[flows.Kind]uint64   `json:"verdicts"`
	Rules      map[flows.RuleKey]Count `json:"rules"`
	Policies   []named[PolicyCount]    `json:"policies"`
	Ports      map[string]PortCount    `json:"ports"`
	Slots      map[slotID]slot         `json:"slots"`
}

// named is a value of a namespaced object.
type named[T any] struct {
	cluster.Key
	Value T `json:"value"`
}

// load reads the file. Where there is none there is nothing to tell.
func (c *Collector) load() error {
	if c.cfg.File == "" {
		return nil
	}
	s := state{Version: stateVersion}
	if err := statefile.Read(c.cfg.File, &s); err != nil {
		return err
	}
	if s.Version != stateVersion {
		return fmt.Errorf("read statistics %s: version %d, want %d", c.cfg.File, s.Version, stateVersion)
	}
	if s.Since.IsZero() {
		return nil // there is none
	}
	t := newTotals(s.Since)
	if s.Verdicts != nil {
		t.verdicts = s.Verdicts
	}
	for k, n := range s.Rules {
		t.rules[k] = &n
	}
	for k, n := range s.Ports {
		t.ports[k] = &n
	}
	for _, p := range s.Policies {
		t.policies[p.Key] = &p.Value
	}
	for id, slot := range s.Slots {
		c.slots[id] = &slot
	}
	c.totals, c.generation = t, s.Generation
	return nil
}

// save writes the file whole, or leaves the one that is there.
func (c *Collector) save() error {
	if c.cfg.File == "" {
		return nil
	}
	s, changed := c.copy()
	if !changed {
		return nil
	}
	if err := statefile.Write(c.cfg.File, s); err != nil {
		c.mu.Lock()
		c.changed = true
		c.mu.Unlock()
		return err
	}
	return nil
}

// copy copies what is to be kept: encoding it takes long enough for the enforcer's
// loop to notice, were the lock held meanwhile.
func (c *Collector) copy() (s state, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.changed {
		return s, false
	}
	c.changed = false
	s = state{
		Version: stateVersion, Generation: c.generation, Since: c.Since, Verdicts: maps.Clone(c.verdicts),
		Rules: values(c.rules), Ports: values(c.ports), Slots: values(c.slots),
		Policies: make([]named[PolicyCount], 0, len(c.policies)),
	}
	for k, n := range c.policies {
		s.Policies = append(s.Policies, named[PolicyCount]{k, *n})
	}
	return s, true
}

func values[K comparable, V any](m map[K]*V) map[K]V {
	out := make(map[K]V, len(m))
	for k, v := range m {
		out[k] = *v
	}
	return out
}
