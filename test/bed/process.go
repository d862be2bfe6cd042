package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopGrace is how long a process has to end after SIGTERM.
const stopGrace = 10 * time.Second

// process is a daemon in a network namespace. It dies with this process.
type process struct {
	cmd  *exec.Cmd
	log  string // path of its standard output and error
	done chan struct{}
	err  error // how it ended; read after done is closed
}

// startIn starts a program in a namespace; what it prints is appended to a log.
func startIn(n *Netns, log string, name string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(name, args...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// A process group of its own: an interrupt typed at the terminal is for this
	// process, which then closes the bed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		// The death signal is sent when the thread that forked ends, so it is kept
		// while the child lives; it is not unlocked, as it is in the namespace.
		runtime.LockOSThread()
		defer out.Close()
		err := n.Enter()
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// signal sends a signal and waits until the process is gone. One that ignores it
// is killed.
func (p *process) signal(ctx context.Context, s syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.cmd.Path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	_ = p.cmd.Process.Kill() // it may have ended just now
	<-p.done
	return fmt.Errorf("stop %s: killed, it did not end in time: %w", p.cmd.Path, ctx.Err())
}

// logTail returns the last of what the process wrote, without the answers to
// those who asked whether it is ready.
func (p *process) logTail() string {
	const limit = 4000
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	var lines []byte
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, []byte(`command="status"`)) {
			lines = append(lines, line...)
		}
	}
	return string(bytes.TrimSpace(lines[max(0, len(lines)-limit):]))
}
