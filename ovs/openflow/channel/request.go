package channel

import (
	"context"
	"fmt"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// Each sends a request and calls fn for each message of the answer, which may
// be one or, for a multipart request, several. An error of fn ends it.
func (c *Conn) Each(ctx context.Context, request ofp.Message, fn func(ofp.Message) error) error {
	cl, err := c.begin(1)
	if err != nil {
		return err
	}
	defer c.end(cl)
	b, err := ofp.Append(nil, cl.first, request)
	if err != nil {
		return err
	}
	if err := c.write(ctx, b); err != nil {
		return err
	}
	for {
		r, err := c.next(ctx, cl)
		if err != nil {
			return err
		}
		if r.err != nil {
			return r.err
		}
		if e, ok := r.m.(*ofp.Error); ok {
			return e
		}
		if err := fn(r.m); err != nil {
			return err
		}
		if !ofp.MoreParts(r.m) {
			return nil
		}
	}
}

// Barrier waits until the switch has done all that was sent before.
func (c *Conn) Barrier(ctx context.Context) error {
	return c.Do(ctx)
}

// Do sends messages that have no answer of their own, such as a FlowMod or a
// PacketOut, and waits until the switch has done them. If it refuses some, the
// error is a [*RefusedError] of the first; the others have been done.
func (c *Conn) Do(ctx context.Context, messages ...ofp.Message) error {
	cl, err := c.begin(len(messages) + 1)
	if err != nil {
		return err
	}
	defer c.end(cl)
	barrier := cl.first + uint32(len(messages))
	var b []byte
	for i, m := range messages {
		if b, err = ofp.Append(b, cl.first+uint32(i), m); err != nil {
			return err
		}
	}
	if b, err = ofp.Append(b, barrier, ofp.BarrierRequest{}); err != nil {
		return err
	}
	if err := c.write(ctx, b); err != nil {
		return err
	}
	var refused *RefusedError
	for {
		r, err := c.next(ctx, cl)
		if err != nil {
			return err
		}
		switch m := r.m.(type) {
		case *ofp.Error:
			if i := int(r.xid - cl.first); refused == nil || i < refused.Index {
				refused = &RefusedError{Index: i, Err: m}
			}
			if r.xid == barrier {
				return refused
			}
		case ofp.BarrierReply:
			if refused != nil {
				return refused
			}
			return nil
		}
	}
}

// RefusedError says that the switch refused one of several messages.
type RefusedError struct {
	// Index is which of the messages, counted from zero; -1 if it is none of them
	// but the bundle as a whole.
	Index int
	Err   *ofp.Error
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Index < 0 {
		return "bundle refused: " + e.Err.String()
	}
	return fmt.Sprintf("message %d refused: %s", e.Index, e.Err)
}

// Unwrap returns the error message of the switch.
func (e *RefusedError) Unwrap() error { return e.Err }
