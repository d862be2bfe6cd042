package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long a daemon has to end after SIGTERM. Both end within
// milliseconds unless the machine is badly overloaded.
const stopGrace = 10 * time.Second

// daemon is a child process.
type daemon struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; read after done is closed
}

// spawn starts a program that dies with this process, in the network namespace
// at a path or, if that is empty, in this process's own.
func spawn(name string, args, env []string, netns string, stderr io.Writer) (*daemon, error) {
	path, err := lookPath(name)
	if err != nil {
		return nil, err
	}
	d := &daemon{name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	d.cmd.Env = env
	d.cmd.Stderr = stderr
	// A process group of its own: an interrupt typed at the terminal is for this
	// process, which then closes the sandbox.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}

	started := make(chan error)
	go func() {
		// The death signal is sent when the thread that forked ends, not the
		// process. So the thread is kept for as long as the child lives.
		runtime.LockOSThread()
		if netns == "" {
			defer runtime.UnlockOSThread()
		} // else the thread is spoilt, and ends with the goroutine
		err := enter(netns)
		if err == nil {
			err = d.cmd.Start()
		}
		started <- err
		if err == nil {
			d.err = d.cmd.Wait()
			close(d.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return d, nil
}

// enter moves the calling thread to a network namespace.
func enter(netns string) error {
	if netns == "" {
		return nil
	}
	f, err := os.Open(netns)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", netns, err)
	}
	return nil
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// running returns a context that ends with ctx, or with a cause that says so
// when the daemon ends.
func (d *daemon) running(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-d.done:
			cancel(d.ended())
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// ended describes how the process ended; call it after done is closed.
func (d *daemon) ended() error {
	if d.err == nil {
		return fmt.Errorf("%s ended", d.name)
	}
	return fmt.Errorf("%s ended: %w", d.name, d.err)
}

// terminate ends the process and waits until it is gone. It takes no less than
// SIGKILL for an answer.
func (d *daemon) terminate(ctx context.Context) error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		select {
		case <-d.done: // it had ended by itself
			return nil
		default:
			return fmt.Errorf("stop %s: %w", d.name, err)
		}
	}
	return d.wait(ctx)
}

// wait waits for a process that has been told to end, and kills it if it takes
// too long.
func (d *daemon) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
	}
	d.cmd.Process.Kill()
	<-d.done
	return fmt.Errorf("stop %s: killed, it did not end in time: %w", d.name, ctx.Err())
}

// lookPath finds a program, also in the folders of daemons, which an ordinary
// user's PATH lacks.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: install Open vSwitch (Debian: openvswitch-switch)", err)
}
