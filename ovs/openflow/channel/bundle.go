package channel

import (
	"context"
	"fmt"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// chunk is about how much is written at once, in bytes. The switch decodes one
// chunk while the next one is encoded.
const chunk = 256 << 10

// Bundle sends count messages as one atomic, ordered bundle. message returns
// the i-th; an error of it ends the bundle and is returned, and nothing has
// changed.
//
// If the switch refuses a message, nothing has changed and the error is a
// [*RefusedError]. After any other error, the bundle may have been taken if it
// was complete.
func (c *Conn) Bundle(ctx context.Context, count int, message func(i int) (ofp.Message, error)) error {
	cl, err := c.begin(count + 3) // and one to open it, a barrier, one to commit it
	if err != nil {
		return err
	}
	defer c.end(cl)
	b := &bundle{conn: c, call: cl, count: count, id: c.bundles.Add(1)}
	err = b.fill(ctx, message)
	switch {
	case err != nil:
	case b.refused != nil:
		err = b.refused
	default:
		return b.commit(ctx)
	}
	b.discard(ctx)
	return err
}

// bundle is a bundle under way. Its messages have the transaction ids that
// follow that of its opening.
type bundle struct {
	conn    *Conn
	call    *call
	count   int
	id      uint32
	refused *RefusedError
}

const bundleFlags = ofp.BundleAtomic | ofp.BundleOrdered

func (b *bundle) control(command ofp.BundleCommand) ofp.Message {
	return ofp.BundleControl{Bundle: b.id, Command: command, Flags: bundleFlags}
}

// fill opens the bundle, adds the messages and waits until the switch has read
// them: one that it can't read is not in the bundle, which it would commit
// without it.
func (b *bundle) fill(ctx context.Context, message func(i int) (ofp.Message, error)) error {
	out, err := ofp.Append(make([]byte, 0, min(chunk+ofp.MaxLen, 512*(b.count+1))), b.call.first, b.control(ofp.BundleOpen))
	if err != nil {
		return err
	}
	for i := range b.count {
		m, err := message(i)
		if err != nil {
			return err
		}
		xid := b.call.first + 1 + uint32(i)
		if out, err = ofp.Append(out, xid, ofp.BundleAdd{Bundle: b.id, Flags: bundleFlags, Message: m}); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if len(out) < chunk {
			continue
		}
		if err := b.conn.write(ctx, out); err != nil {
			return err
		}
		out = out[:0]
	}
	barrier := b.call.first + 1 + uint32(b.count)
	if out, err = ofp.Append(out, barrier, ofp.BarrierRequest{}); err != nil {
		return err
	}
	if err := b.conn.write(ctx, out); err != nil {
		return err
	}
	return b.await(ctx, barrier)
}

// await waits for the answer to the message with the transaction id last, and
// notes what is refused meanwhile.
func (b *bundle) await(ctx context.Context, last uint32) error {
	for {
		r, err := b.conn.next(ctx, b.call)
		if err != nil {
			return err
		}
		if e, ok := r.m.(*ofp.Error); ok {
			b.refuse(r.xid, e)
		}
		if r.xid == last {
			return r.err
		}
	}
}

// refuse notes the first message that was refused. That the bundle as a whole
// was is only a consequence, if there is one.
func (b *bundle) refuse(xid uint32, e *ofp.Error) {
	i := int(xid-b.call.first) - 1
	if i >= b.count {
		i = -1
	}
	if b.refused == nil || b.refused.Index < 0 && i >= 0 || i >= 0 && i < b.refused.Index {
		b.refused = &RefusedError{Index: i, Err: e}
	}
}

func (b *bundle) commit(ctx context.Context) error {
	xid := b.call.first + b.call.count - 1
	out, err := ofp.Append(nil, xid, b.control(ofp.BundleCommit))
	if err != nil {
		return err
	}
	if err = b.conn.write(ctx, out); err != nil {
		return err
	}
	if err = b.await(ctx, xid); err != nil {
		return err
	}
	if b.refused != nil {
		return b.refused
	}
	return nil
}

// discard throws the bundle away. What can't be thrown away goes with its
// connection.
func (b *bundle) discard(ctx context.Context) {
	xid := b.call.first + b.call.count - 1
	out, err := ofp.Append(nil, xid, b.control(ofp.BundleDiscard))
	if err == nil {
		err = b.conn.write(ctx, out)
	}
	if err == nil {
		err = b.await(ctx, xid)
	}
	if err != nil {
		b.conn.fail(fmt.Errorf("unfinished bundle: %w", err))
	}
}
