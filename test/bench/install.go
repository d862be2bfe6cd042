package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
)

// rounds is how often the slow ones are repeated; the middle one counts.
const rounds = 3

// largeNode is what a node with some 100,000 flows has to enforce.
func largeNode() flows.Delta {
	d := flows.Delta{Node: nodeOf()}
	for i := range 200 {
		d.Ports = append(d.Ports, portOf(i, termOf(i, 40)))
	}
	for i := range 45_000 {
		d.Peers = append(d.Peers, peerOf(i, termOf(i, 200), flows.Directions[:]...))
	}
	for i := range 1_500 {
		for _, dir := range flows.Directions {
			d.Rules = append(d.Rules, ruleOf(dir, i, termOf(i, 40), termOf(i, 200)))
		}
	}
	return d
}

// benchInstall installs the flows of a large node on an empty bridge, as a
// restart of ovs-vswitchd asks for, and finds out that a bridge that holds them
// needs none, as a restart of the agent does.
func benchInstall(ctx context.Context, r *report) (err error) {
	s, err := newSwitchboard(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	pipeline, delta := flows.New(), largeNode()
	applied, err := clock(func() error { _, err := pipeline.Apply(delta); return err })
	if err != nil {
		return err
	}
	var all []*flows.Flow
	listed, _ := clock(func() error { all = slices.Collect(pipeline.Flows()); return nil })
	file, bundle := filepath.Join(s.ovs.RunDir(), "flows"), filepath.Join(s.ovs.RunDir(), "bundle")
	if err := writeFlows(file, all); err != nil {
		return err
	}
	var text string
	rendered, _ := clock(func() error { text = (&openflow.Transaction{Add: all}).String(); return nil })
	if err := os.WriteFile(bundle, []byte(text), 0o600); err != nil {
		return err
	}

	var ours, sent, theirs times
	for range rounds {
		took, err := installed(ctx, s, func() error {
			return s.Commit(ctx, &openflow.Transaction{Add: slices.Collect(pipeline.Flows())})
		})
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if took, err = installed(ctx, s, s.ofctl(ctx, "bundle", s.Target(), bundle).Run); err != nil {
			return err
		}
		sent = append(sent, took)
		took, err = installed(ctx, s, s.ofctl(ctx, "--bundle", "add-flows", s.Target(), file).Run)
		if err != nil {
			return err
		}
		theirs = append(theirs, took)
	}
	n := len(all)
	reference := seconds(theirs.percentile(50))
	r.against(fmt.Sprintf("%d flows on an empty bridge: Flows and Commit", n), seconds(ours.percentile(50)), reference, "ovs-ofctl --bundle add-flows of the same")
	r.against("of it: Flows of the pipeline", seconds(listed), reference, "the same")
	r.against("instead, openflow: ofctl: rendered as text", seconds(rendered), reference, "the same")
	r.against("instead, openflow: ofctl: that text by ovs-ofctl bundle", seconds(sent.percentile(50)), reference, "the same")
	r.against("before it: Apply of all", seconds(applied), reference, "the same")
	return benchCompare(ctx, r, s, pipeline)
}

// benchCompare times what a restart of the agent does with a bridge that holds
// what it should.
func benchCompare(ctx context.Context, r *report, s *switchboard, pipeline *flows.Pipeline) error {
	var actual []*flows.Flow
	dumped, err := clock(func() (err error) { actual, err = s.DumpFlows(ctx); return err })
	if err != nil {
		return err
	}
	reference, err := clock(func() error { return s.ofctl(ctx, "--no-stats", "dump-flows", s.Target()).Run() })
	if err != nil {
		return err
	}
	r.against(fmt.Sprintf("%d flows read back: DumpFlows", len(actual)), seconds(dumped), seconds(reference), "ovs-ofctl dump-flows")
	fresh, delta := flows.New(), largeNode()
	restored, _ := clock(func() error { fresh.Restore(slices.Values(actual)); return nil })
	if _, err := fresh.Apply(delta); err != nil {
		return err
	}
	var tx *openflow.Transaction
	compared, _ := clock(func() error { tx = openflow.Diff(fresh.Flows(), actual); return nil })
	r.against("numbers taken over from them: Restore", seconds(restored), seconds(reference), "the same")
	r.against("compared: Flows and Diff", seconds(compared), seconds(reference), "the same")
	r.figure("differences", count(tx.Len()))
	return nil
}

// installed takes the time of one installation on an empty bridge.
func installed(ctx context.Context, s *switchboard, install func() error) (time.Duration, error) {
	if err := s.clear(ctx); err != nil {
		return 0, err
	}
	return clock(install)
}

// writeFlows writes flows as ovs-ofctl add-flows reads them.
func writeFlows(file string, all []*flows.Flow) error {
	var text []byte
	for _, f := range all {
		text = append(append(text, openflow.Text(f)...), '\n')
	}
	return os.WriteFile(file, text, 0o600)
}
