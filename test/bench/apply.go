package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/sluice-cni/sluice/flows"
)

// benchApply times a rule that comes and goes while others stand. The reference
// is the same with a hundred rules: the ratio is what scale costs.
func benchApply(_ context.Context, r *report) error {
	for _, shape := range []struct {
		name            string
		subjects, peers int
	}{
		{"20 kinds of subjects, 50 of peers", 20, 50},
		{"the same subjects and peers", 1, 1},
	} {
		var reference times
		for _, n := range []int{100, 1_000, 10_000} {
			took, changed, err := applyWith(n, shape.subjects, shape.peers)
			if err != nil {
				return err
			}
			if reference == nil {
				reference = took
			}
			r.latencies(fmt.Sprintf("Apply of one rule, %d standing, %s", n, shape.name), took, reference, "100 standing")
			r.figure(fmt.Sprintf("flow changes of that rule, %d standing", n), count(changed))
		}
	}
	return nil
}

// applyWith returns what adding one rule takes beside n others, and how many
// flows it changes.
func applyWith(n, subjects, peers int) (times, int, error) {
	p := flows.New()
	d := flows.Delta{Node: nodeOf()}
	for i := range 20 {
		d.Ports = append(d.Ports, portOf(i, termOf(i, subjects)))
	}
	for i := range 1000 {
		d.Peers = append(d.Peers, peerOf(i, termOf(i, peers), flows.Directions[:]...))
	}
	rule := func(i int) flows.RuleChange {
		return ruleOf(flows.Direction(i%2), i, termOf(i/2, subjects), termOf(i/2, peers))
	}
	for i := range n {
		d.Rules = append(d.Rules, rule(i))
	}
	if _, err := p.Apply(d); err != nil {
		return nil, 0, err
	}
	runtime.GC() // what the first Apply left is not what is measured
	var took times
	var changed int
	for i := range 300 {
		c := rule(n + i)
		one, err := clock(func() error {
			changes, err := p.Apply(flows.Delta{Rules: []flows.RuleChange{c}})
			changed = len(changes.Add) + len(changes.Delete)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		took = append(took, one)
		if _, err := p.Apply(flows.Delta{Rules: []flows.RuleChange{{Key: c.Key}}}); err != nil {
			return nil, 0, err
		}
	}
	return took, changed, nil
}
