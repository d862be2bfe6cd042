package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressAfter is how long a step may take before it is spoken of, and how
// often then.
const progressAfter = time.Second

// progress tells what takes long. Its methods may be called from several
// goroutines.
type progress struct {
	w    io.Writer
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	step  string
	since time.Time
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, stop: make(chan struct{})}
	p.done.Go(p.run)
	return p
}

// begin says what is being done from now on.
func (p *progress) begin(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step, p.since = fmt.Sprintf(format, args...), time.Now()
}

// update says the same of the step under way, without starting its time anew.
func (p *progress) update(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step = fmt.Sprintf(format, args...)
}

func (p *progress) run() {
	tick := time.NewTicker(progressAfter)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.tell()
		case <-p.stop:
			return
		}
	}
}

func (p *progress) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if took := time.Since(p.since); p.step != "" && took >= progressAfter {
		_, _ = fmt.Fprintf(p.w, "%s (%.0f s)\n", p.step, took.Seconds())
	}
}

// close ends what newProgress began.
func (p *progress) close() {
	close(p.stop)
	p.done.Wait()
}
