package node

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// processes are the children of a first process: those it has started, and
// those that have lost their parent, which it has to reap.
type processes struct {
	mu    sync.Mutex
	ended map[int]chan<- syscall.WaitStatus // by pid
}

// newProcesses starts the reaping. From then on nothing else in this process may
// wait for children, and so not os/exec.
func newProcesses() *processes {
	p := &processes{ended: map[int]chan<- syscall.WaitStatus{}}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	go func() {
		for range children {
			p.reap()
		}
	}()
	return p
}

// reap reaps all that has ended: one signal may stand for many.
func (p *processes) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		p.mu.Lock()
		if ended, ok := p.ended[pid]; ok {
			ended <- status
			delete(p.ended, pid)
		}
		p.mu.Unlock()
	}
}

// run runs a program until it ends. What it prints is appended to a log.
func (p *processes) run(log string, args ...string) (syscall.WaitStatus, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	ended := make(chan syscall.WaitStatus, 1)
	// Held until it is known who waits: it may end at once.
	p.mu.Lock()
	pid, err := syscall.ForkExec(args[0], args, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(),
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err == nil {
		p.ended[pid] = ended
	}
	p.mu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", args[0], err)
	}
	return <-ended, nil
}

// describe says how a process has ended.
func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return "killed by " + s.Signal().String()
	}
	return fmt.Sprintf("exit code %d", s.ExitStatus())
}
