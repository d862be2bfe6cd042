package sandbox

import (
	"context"
	"encoding/hex"
	"fmt"
)

// Receive lets Ethernet frames arrive at a port of a bridge. The port's
// interface must be of type "dummy".
//
// A frame is queued at the port: what ovs-vswitchd makes of it, such as a
// connection that it tracks, comes about after Receive has returned.
func (s *Sandbox) Receive(ctx context.Context, port string, frames ...[]byte) error {
	args := []string{port}
	for _, f := range frames {
		args = append(args, hex.EncodeToString(f))
	}
	if _, err := s.Vswitchd().Call(ctx, "netdev-dummy/receive", args...); err != nil {
		return fmt.Errorf("receive a frame at port %s: %w", port, err)
	}
	return nil
}
