package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Running tells whether the daemon's process is there and has not ended.
func (r Record) Running() bool {
	s, err := readStat(r.PID)
	return err == nil && s.start == r.Start && s.state != 'Z'
}

// End kills all daemons started with a folder and returns when they are gone.
// What has ended already is no error. ctx bounds the wait.
func End(ctx context.Context, dir string) error {
	records, err := List(dir)
	if err != nil {
		return err
	}
	fds := make(map[string]int, len(records))
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	var errs []error
	// All are killed before one is waited for: none has the time to restart
	// another, and they end side by side.
	for _, r := range records {
		fd, err := r.kill()
		if err != nil {
			errs = append(errs, fmt.Errorf("kill %s (pid %d): %w", r.Name, r.PID, err))
		} else if fd >= 0 {
			fds[r.Name] = fd
		}
	}
	for name, fd := range fds {
		if err := waitEnd(ctx, fd); err != nil {
			errs = append(errs, fmt.Errorf("wait for the end of %s: %w", name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, r := range records {
		errs = append(errs, removeRecord(dir, r.Name))
	}
	return errors.Join(errs...)
}

// kill kills the daemon and returns a file descriptor of its process, or -1 if
// it is gone.
func (r Record) kill() (int, error) {
	fd, err := unix.PidfdOpen(r.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	// Looked at after the file descriptor holds the process: from here on the pid
	// can't become another's.
	if !r.Running() {
		unix.Close(fd)
		return -1, nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// waitEnd waits until the process of a file descriptor has ended.
func waitEnd(ctx context.Context, fd int) error {
	const look = 100 * time.Millisecond // at ctx
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(look/time.Millisecond))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n > 0:
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
