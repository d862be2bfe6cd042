package openflow

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Commit makes all changes of a transaction, or none: it is one atomic OpenFlow
// bundle. An empty transaction is not sent at all.
//
// If a change is refused, here or by the switch, nothing has changed and the
// error is a [*BundleError]. After any other error it is not known whether the
// bundle was taken: the connection was lost, or ctx ended, before the answer
// came. Compare with a dump then.
func (b *Bridge) Commit(ctx context.Context, t *Transaction) error {
	if t.Empty() {
		return nil
	}
	if b.native != nil {
		err := b.native.commit(ctx, t)
		if err == nil {
			return nil
		}
		if !leave(err) {
			return fmt.Errorf("commit to %s: %w", b.target, err)
		}
	}
	r, err := render(t)
	if err != nil {
		return fmt.Errorf("commit to %s: %w", b.target, err)
	}
	file, err := memoryFile("bundle", r.text)
	if err != nil {
		return fmt.Errorf("commit to %s: %w", b.target, err)
	}
	defer file.Close()
	err = b.ofctl.run(ctx, file, nil, "bundle", b.target, "-")
	if exit, ok := errors.AsType[*exitError](err); ok {
		refused := findRefusal(exit.stderr, r, t)
		if refused == nil && strings.Contains(exit.stderr, unusable) {
			refused, err = b.findUnusable(ctx, r, t)
		}
		if refused != nil {
			err = refused
		}
	}
	if err != nil {
		return fmt.Errorf("commit to %s: %w", b.target, err)
	}
	return nil
}

// render renders all changes of a transaction.
func render(t *Transaction) (*bundle, error) {
	n := t.Len()
	r := &bundle{start: make([]int, 0, n), text: make([]byte, 0, 160*n)}
	for i := range n {
		c := t.change(i)
		if err := r.add(c); err != nil {
			return nil, &BundleError{Flow: c.String(), Index: i, Reason: err.Error(), Offender: c.flow}
		}
	}
	return r, nil
}

// unusable is part of what ovs-ofctl says, before it connects, of a bundle with
// a change that OpenFlow 1.5 has no form of: most often an action that lacks its
// prerequisite, such as dec_ttl without ip. It does not say which change.
const unusable = "none of the usable flow formats"

// nowhere is an endpoint that can't exist.
const nowhere = "unix:/dev/null/none"

// findUnusable finds the first such change: the last one of the shortest part of
// the bundle that ovs-ofctl finds unusable. The parts are not sent anywhere.
func (b *Bridge) findUnusable(ctx context.Context, r *bundle, t *Transaction) (*BundleError, error) {
	reason := unusable
	var failed error
	n := sort.Search(len(r.start), func(i int) bool {
		if failed != nil {
			return true
		}
		file, err := memoryFile("bundle", r.text[:r.end(i)])
		if err != nil {
			failed = err
			return true
		}
		defer file.Close()
		err = b.ofctl.run(ctx, file, nil, "bundle", nowhere, "-")
		exit, ok := errors.AsType[*exitError](err)
		if !ok {
			failed = fmt.Errorf("find the change that is unusable: %w", err)
			return true
		}
		if !strings.Contains(exit.stderr, unusable) {
			return false
		}
		reason = exit.Error()
		return true
	})
	if failed != nil {
		return nil, failed
	}
	return r.refusal(n, reason, t), nil
}
