package apiserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// process is a daemon that this process started and that dies with it.
type process struct {
	name string
	log  string // path of its standard output and error
	os   *os.Process
	done chan struct{} // closed when it has ended
	err  error         // how it ended; valid once done is closed
}

// startProcess starts a daemon with dir as its working folder; its output is
// appended to dir/name.log.
func startProcess(dir, name, path string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// A group of its own: Ctrl-C on the terminal ends the test, and the test
		// ends its daemons, in its order.
		Setpgid: true,
	}

	started := make(chan error)
	go func() {
		// The parent of prctl(PR_SET_PDEATHSIG) is a thread, not a process: the
		// thread that starts the child has to outlive it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.os = cmd.Process
	return p, nil
}

// kill ends the daemon without grace and waits until it is gone.
func (p *process) kill() {
	// One that has ended by itself can't be killed, and need not be.
	_ = p.os.Kill()
	<-p.done
}

// failure describes a daemon that ended by itself, with the end of its log.
func (p *process) failure() error {
	return fmt.Errorf("%s ended: %v; the end of its log:\n%s", p.name, p.err, p.logTail())
}

// logTail returns the last lines the daemon wrote.
func (p *process) logTail() []byte {
	const lines = 20
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	text = bytes.TrimRight(text, "\n")
	cut := len(text)
	for range lines {
		if cut = bytes.LastIndexByte(text[:cut], '\n'); cut < 0 {
			return text
		}
	}
	return text[cut+1:]
}
