package channel

import (
	"context"
	"time"

	"github.com/sluice-cni/sluice/ovs/openflow/ofp"
)

// How long Listen waits before it connects again, at first and at most.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Listen calls fn for each packet that the bridge sends to the controllers,
// until ctx ends; it connects again when the connection is lost. fn is called
// from one goroutine, which reads the connection: while it takes its time, the
// switch drops packets.
//
// state, if not nil, is told of each connection (nil) and of each loss or
// failure to connect.
func Listen(ctx context.Context, cfg Config, fn func(*ofp.PacketIn), state func(error)) error {
	cfg.Async = func(m ofp.Message) {
		if p, ok := m.(*ofp.PacketIn); ok {
			fn(p)
		}
	}
	if state == nil {
		state = func(error) {}
	}
	backoff := minBackoff
	for {
		c, err := Dial(ctx, cfg)
		if err == nil {
			if err = c.EnablePacketIns(ctx); err == nil {
				backoff = minBackoff
				state(nil)
				select {
				case <-c.Done():
					err = c.Err()
				case <-ctx.Done():
				}
			}
			c.Close()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		state(err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// wholePackets, as a MissSendLen, asks for packets as a whole.
const wholePackets = 65535

// EnablePacketIns asks the bridge to send packets to this connection, with the
// user data of the actions that send them.
func (c *Conn) EnablePacketIns(ctx context.Context) error {
	return c.Do(ctx, ofp.SetConfig{MissSendLen: wholePackets}, ofp.SetPacketInFormat{Format: ofp.PacketInWithUserData})
}
