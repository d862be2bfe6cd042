package sandbox

import (
	"context"
	"encoding/hex"
	"fmt"
)

// Receive lets an Ethernet frame arrive at a port of a bridge. The port's
// interface must be of type "dummy".
//
// The frame is queued at the port: what ovs-vswitchd makes of it, such as a
// connection that it tracks, comes about after Receive has returned.
func (s *Sandbox) Receive(ctx context.Context, port string, frame []byte) error {
	if _, err := s.Vswitchd().Call(ctx, "netdev-dummy/receive", port, hex.EncodeToString(frame)); err != nil {
		return fmt.Errorf("receive a frame at port %s: %w", port, err)
	}
	return nil
}
