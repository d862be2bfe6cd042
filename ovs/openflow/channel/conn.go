package channel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// ErrLost says that the connection is gone. What was asked and not answered may
// have been done or not.
var ErrLost = errors.New("OpenFlow connection lost")

// Conn is a connection to a bridge. It is safe for concurrent use.
type Conn struct {
	nc       net.Conn
	cfg      Config
	features ofp.Features

	token   chan struct{} // whoever has it writes
	echoes  chan echo     // requests of the switch that want an answer
	begun   time.Time     // that other times are measured from, whatever becomes of the clock
	heard   atomic.Int64  // when the switch last said something, a time.Duration since begun
	bundles atomic.Uint32 // the number of the last bundle

	mu    sync.Mutex
	calls map[*call]struct{}
	xid   uint32 // the last one given out
	err   error  // why the connection is lost

	done chan struct{} // closed when it is
	wg   sync.WaitGroup
}

type echo struct {
	xid  uint32
	data []byte
}

// start starts the goroutines of a connection that has shaken hands.
func start(nc net.Conn, r *bufio.Reader, cfg Config, features ofp.Features) *Conn {
	c := &Conn{
		nc: nc, cfg: cfg, features: features, xid: 1, begun: time.Now(),
		token: make(chan struct{}, 1), echoes: make(chan echo, 1), done: make(chan struct{}),
		calls: make(map[*call]struct{}),
	}
	c.wg.Go(func() { c.read(r) })
	c.wg.Go(c.keep)
	return c
}

// Features returns what the bridge said of itself.
func (c *Conn) Features() ofp.Features { return c.features }

// Done is closed when the connection is lost or closed.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection is lost, nil as long as it is not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close closes the connection and waits until nothing of it runs. Requests that
// are under way fail.
func (c *Conn) Close() error {
	c.fail(net.ErrClosed)
	c.wg.Wait()
	return nil
}

// fail ends the connection; the first reason counts.
func (c *Conn) fail(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = fmt.Errorf("%w: %w", ErrLost, reason)
	close(c.done)
	c.nc.Close()
}

// read hands each message to the call that it answers.
func (c *Conn) read(r *bufio.Reader) {
	var buf []byte
	var err error
	for {
		if buf, err = ofp.Read(r, buf); err != nil {
			c.fail(err)
			return
		}
		c.heard.Store(int64(time.Since(c.begun)))
		h, m, err := ofp.Parse(buf)
		if e, ok := m.(ofp.EchoRequest); ok {
			// Not answered from here: a write may have to wait until the switch has
			// got rid of what is to be read here.
			select {
			case c.echoes <- echo{h.XID, e.Data}:
			default: // one is waiting; its answer shows as well that we live
			}
			continue
		}
		if !c.deliver(h, reply{h.XID, m, err}) && m != nil && c.cfg.Async != nil {
			c.cfg.Async(m)
		}
	}
}

// keep answers the echo requests of the switch, and asks it in turn when it is
// silent.
func (c *Conn) keep() {
	tick := time.NewTicker(c.cfg.Probe)
	defer tick.Stop()
	for {
		var m ofp.Message = ofp.EchoRequest{}
		var xid uint32
		select {
		case <-c.done:
			return
		case e := <-c.echoes:
			xid, m = e.xid, ofp.EchoReply{Data: e.data}
		case <-tick.C:
			silent := time.Since(c.begun) - time.Duration(c.heard.Load())
			if silent > probesLost*c.cfg.Probe {
				c.fail(fmt.Errorf("no answer for %v", silent.Round(time.Millisecond)))
				return
			}
			if silent < c.cfg.Probe {
				continue
			}
		}
		b, err := ofp.Append(nil, xid, m)
		if err != nil {
			continue // an echo request that fitted has an answer that fits
		}
		// A switch that takes a large bundle need not read for a while.
		ctx, cancel := context.WithTimeout(context.Background(), probesLost*c.cfg.Probe)
		err = c.write(ctx, b)
		cancel()
		if err != nil {
			return
		}
	}
}

// write writes whole messages. If ctx ends in the middle of it, the connection
// is lost.
func (c *Conn) write(ctx context.Context, b []byte) error {
	select {
	case c.token <- struct{}{}:
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.token }()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.nc.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := c.nc.Write(b)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.fail(err)
		if ctx.Err() == nil {
			err = c.Err()
		}
	}
	return err
}
