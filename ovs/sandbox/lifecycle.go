package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// pollInterval is how often a daemon that starts is asked whether it is ready.
const pollInterval = 2 * time.Millisecond

// spawn starts a daemon into slot and waits until it is ready; if that fails the
// daemon is ended, and the error carries the end of its log. The lock is held.
func (s *Sandbox) spawn(slot **daemon, name string, args []string, ready func() error) error {
	if s.closed {
		return errors.New("start " + name + ": the sandbox is closed")
	}
	if *slot != nil {
		select {
		case <-(*slot).done: // it has ended by itself: start it anew
		default:
			return nil
		}
	}
	args = append(args, "--no-chdir", "--pidfile="+s.path(name+".pid"),
		"--log-file="+s.path(name+".log"), "-vconsole:emer", "-vsyslog:off", "-vfile:info")
	d, err := spawn(name, args, s.Env(), s.netns, s.log)
	if err != nil {
		return err
	}
	*slot = d
	if err := ready(); err != nil {
		err = fmt.Errorf("start %s: %w%s", name, err, s.logTail(name))
		return errors.Join(err, s.stop(context.Background(), slot))
	}
	return nil
}

// stop ends the daemon in slot, if there is one. The lock is held.
func (s *Sandbox) stop(ctx context.Context, slot **daemon) error {
	d := *slot
	if d == nil {
		return nil
	}
	*slot = nil
	return d.terminate(ctx)
}

// poll asks until ask succeeds, ctx ends or the daemon does.
func (s *Sandbox) poll(ctx context.Context, d *daemon, ask func(context.Context) error) error {
	ctx, cancel := d.running(ctx)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (last: %w)", context.Cause(ctx), err)
		case <-time.After(pollInterval):
		}
	}
}

// logTail returns the last of a daemon's log, for an error message.
func (s *Sandbox) logTail(name string) string {
	const limit = 2000
	text, err := os.ReadFile(s.path(name + ".log"))
	if err != nil || len(text) == 0 {
		return ""
	}
	return "\nlog of " + name + ":\n" + string(text[max(0, len(text)-limit):])
}
