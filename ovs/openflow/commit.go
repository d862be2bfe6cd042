package openflow

import (
	"context"
	"errors"
	"fmt"
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
		if refused := findRefusal(exit.stderr, r, t); refused != nil {
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
