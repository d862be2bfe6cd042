package channel

import (
	"context"
	"sync"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// call is what waits for the answers to one or more messages, whose transaction
// ids follow each other.
type call struct {
	first, count uint32

	mu    sync.Mutex
	queue []reply
	wake  chan struct{}
}

// reply is a message, or why it can't be read.
type reply struct {
	xid uint32
	m   ofp.Message
	err error
}

// begin gives out transaction ids for count messages.
func (c *Conn) begin(count int) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	first := c.xid + 1
	if first == 0 || first+uint32(count) < first {
		first = 1 // zero is the id of what answers nothing
	}
	c.xid = first + uint32(count) - 1
	cl := &call{first: first, count: uint32(count), wake: make(chan struct{}, 1)}
	c.calls[cl] = struct{}{}
	return cl, nil
}

// end forgets a call. Answers that still come are dropped.
func (c *Conn) end(cl *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, cl)
}

// deliver hands a reply to the call that it answers; false if there is none.
func (c *Conn) deliver(h ofp.Header, r reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cl := range c.calls {
		if h.XID-cl.first < cl.count {
			cl.push(r)
			return true
		}
	}
	return false
}

// push never waits: whoever reads the connection must not depend on those who
// ask. So a dump that is slowly looked at is in memory as a whole.
func (cl *call) push(r reply) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.queue = append(cl.queue, r)
	select {
	case cl.wake <- struct{}{}:
	default:
	}
}

func (cl *call) pop() (reply, bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if len(cl.queue) == 0 {
		return reply{}, false
	}
	r := cl.queue[0]
	cl.queue[0] = reply{}
	cl.queue = cl.queue[1:]
	return r, true
}

// next waits for the next answer.
func (c *Conn) next(ctx context.Context, cl *call) (reply, error) {
	for {
		if r, ok := cl.pop(); ok {
			return r, nil
		}
		select {
		case <-cl.wake:
		case <-ctx.Done():
			return reply{}, context.Cause(ctx)
		case <-c.done:
			// What came before the end counts.
			if r, ok := cl.pop(); ok {
				return r, nil
			}
			return reply{}, c.Err()
		}
	}
}
