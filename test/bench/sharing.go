package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/openflow"
)

const (
	sharedRules    = 1000
	sharedPeers    = 1000
	sharedSubjects = 10
	withoutIDs     = "each address in each rule's clause"
)

// benchSharing has 1,000 rules let the same 1,000 pods reach the same 10 pods of
// this node, each at a port of its own. What counts is what the rules and pods
// cost; the node's and the ports' own flows are left out on both sides.
func benchSharing(ctx context.Context, r *report) (err error) {
	s, err := newSwitchboard(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	usual := &classical{rules: sharedRules}
	p, base, all := flows.New(), flows.Delta{Node: nodeOf()}, flows.Delta{}
	for i := range sharedSubjects {
		port := portOf(i, 1)
		usual.subjects = append(usual.subjects, port.Port.OFPort)
		base.Ports = append(base.Ports, port)
	}
	for i := range sharedPeers {
		usual.peers = append(usual.peers, peerAddr(i))
		all.Peers = append(all.Peers, peerOf(i, 1, flows.Ingress))
	}
	for i := range sharedRules {
		all.Rules = append(all.Rules, ruleOf(flows.Ingress, i, 1, 1))
	}
	// The reference is installed first, and alone.
	whole := usual.all()
	wholeTook, err := clock(func() error { return s.Commit(ctx, whole) })
	if err != nil {
		return err
	}
	refPod, err := cost(ctx, s, 20, func(i int) *openflow.Transaction { return usual.addPeer(peerAddr(sharedPeers + i)) })
	if err != nil {
		return err
	}
	refRule, err := cost(ctx, s, 5, func(int) *openflow.Transaction { return usual.addRule() })
	if err != nil {
		return err
	}
	if err := s.clear(ctx); err != nil {
		return err
	}

	var failed error
	apply := func(d flows.Delta) *openflow.Transaction {
		changes, err := p.Apply(d)
		failed = errors.Join(failed, err)
		return &openflow.Transaction{Add: changes.Add, Delete: changes.Delete}
	}
	if err := s.Commit(ctx, apply(base)); err != nil {
		return errors.Join(failed, err)
	}
	tx := apply(all)
	took, err := clock(func() error { return s.Commit(ctx, tx) })
	if err != nil {
		return errors.Join(failed, err)
	}
	pod, err := cost(ctx, s, 20, func(i int) *openflow.Transaction {
		return apply(flows.Delta{Peers: []flows.PeerChange{peerOf(sharedPeers+i, 1, flows.Ingress)}})
	})
	if err != nil {
		return errors.Join(failed, err)
	}
	rule, err := cost(ctx, s, 20, func(i int) *openflow.Transaction {
		return apply(flows.Delta{Rules: []flows.RuleChange{ruleOf(flows.Ingress, sharedRules+i, 1, 1)}})
	})
	if err != nil {
		return errors.Join(failed, err)
	}
	what := fmt.Sprintf("%d rules over %d pods", sharedRules, sharedPeers)
	r.against(what+": flows", count(tx.Len()), count(whole.Len()), withoutIDs)
	r.against(what+": bundle", size(len(tx.String())), size(len(whole.String())), withoutIDs)
	r.against(what+": Commit", seconds(took), seconds(wholeTook), withoutIDs)
	for _, x := range []struct {
		name      string
		got, want change
	}{{"one pod more", pod, refPod}, {"one rule more", rule, refRule}} {
		r.against(x.name+": flow changes", count(x.got.flows), count(x.want.flows), withoutIDs)
		r.against(x.name+": bundle", size(x.got.bytes), size(x.want.bytes), withoutIDs)
		r.against(fmt.Sprintf("%s: Commit, p50 of %d", x.name, len(x.got.took)), seconds(x.got.took.percentile(50)), seconds(x.want.took.percentile(50)), withoutIDs)
	}
	return failed
}

// change is what one change costs; flows and bytes are the last one's.
type change struct {
	flows, bytes int
	took         times
}

// cost commits n changes one after the other.
func cost(ctx context.Context, s *switchboard, n int, next func(i int) *openflow.Transaction) (change, error) {
	var c change
	for i := range n {
		tx := next(i)
		c.flows, c.bytes = tx.Len(), len(tx.String())
		started := time.Now()
		if err := s.Commit(ctx, tx); err != nil {
			return c, err
		}
		c.took = append(c.took, time.Since(started))
	}
	return c, nil
}
