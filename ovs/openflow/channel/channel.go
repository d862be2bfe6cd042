package channel

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// DefaultIdle is how long a Channel keeps a connection that nobody uses.
const DefaultIdle = time.Minute

// Channel keeps a connection for those who use it now and then. It is safe for
// concurrent use and need not be closed: a connection that is not used for a
// while ends by itself.
type Channel struct {
	cfg  Config
	idle time.Duration
	dial chan struct{} // whoever has it dials

	mu    sync.Mutex
	conn  *Conn
	users int
	timer *time.Timer
	lost  uint64
}

// New returns a channel that dials when it is used; it keeps a connection for
// idle after its last use, DefaultIdle if that is zero.
func New(cfg Config, idle time.Duration) *Channel {
	if idle <= 0 {
		idle = DefaultIdle
	}
	return &Channel{cfg: cfg, idle: idle, dial: make(chan struct{}, 1)}
}

// Use calls fn with a connection, which it dials if there is none or the one
// there is has been lost.
func (ch *Channel) Use(ctx context.Context, fn func(*Conn) error) error {
	c, err := ch.acquire(ctx)
	if err != nil {
		return err
	}
	defer ch.release()
	return fn(c)
}

func (ch *Channel) acquire(ctx context.Context) (*Conn, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if c := ch.take(nil); c != nil {
		return c, nil
	}
	select {
	case ch.dial <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-ch.dial }()
	if c := ch.take(nil); c != nil {
		return c, nil // dialled by another meanwhile
	}
	c, err := Dial(ctx, ch.cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return ch.take(c), nil
}

// take returns the connection, counted as used; fresh replaces it first, if
// not nil. It returns nil if there is none that works.
func (ch *Channel) take(fresh *Conn) *Conn {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if fresh != nil {
		ch.conn = fresh
	}
	if ch.conn != nil && ch.conn.Err() != nil {
		ch.lost++
	}
	if ch.conn == nil || ch.conn.Err() != nil {
		ch.conn = nil
		if fresh == nil {
			return nil
		}
	}
	ch.users++
	if ch.timer != nil {
		ch.timer.Stop()
	}
	if fresh != nil {
		return fresh
	}
	return ch.conn
}

// Lost returns how many connections were found to be lost, each when it was asked
// for again.
func (ch *Channel) Lost() uint64 {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.lost
}

func (ch *Channel) release() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.users--; ch.users > 0 {
		return
	}
	if ch.timer == nil {
		ch.timer = time.AfterFunc(ch.idle, ch.hangUp)
	} else {
		ch.timer.Reset(ch.idle)
	}
}

// hangUp ends a connection that nobody uses.
func (ch *Channel) hangUp() {
	ch.mu.Lock()
	c := ch.conn
	if ch.users > 0 {
		c = nil
	}
	if c != nil {
		ch.conn = nil
	}
	ch.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

// Close ends the connection at once. The channel can be used again.
func (ch *Channel) Close() error {
	ch.mu.Lock()
	c := ch.conn
	ch.conn = nil
	if ch.timer != nil {
		ch.timer.Stop()
	}
	ch.mu.Unlock()
	if c != nil {
		return c.Close()
	}
	return nil
}
