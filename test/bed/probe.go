package bed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

// ErrNoAnswer says that a probe was not answered in time, as is the case when its
// packets are dropped.
var ErrNoAnswer = errors.New("no answer")

// Probe sends something to a server of Serve and waits for its answer for at most
// the given time. It returns nil if it came, an error that wraps ErrNoAnswer if
// nothing came, and another one if something else did, such as a reset.
func (h *Host) Probe(ctx context.Context, network string, to netip.AddrPort, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	c, err := h.Dial(ctx, network, to)
	if err == nil {
		defer c.Close()
		err = Exchange(c, wait)
	}
	switch {
	case err == nil:
		return nil
	case isTimeout(err):
		return fmt.Errorf("probe %s %s from %s: %w in %v", network, to, h.Name, ErrNoAnswer, wait)
	}
	return fmt.Errorf("probe %s %s from %s: %w", network, to, h.Name, err)
}

// Exchange sends a few bytes on a connection with a server of Serve and reads them
// back within the given time.
func Exchange(c net.Conn, wait time.Duration) error {
	const text = "sluice probe"
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	answer := make([]byte, len(text))
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if string(answer) != text {
		return fmt.Errorf("answer %q to %q", answer, text)
	}
	return nil
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
