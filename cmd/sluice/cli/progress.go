package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressDelay is how long a command runs before it says what it does.
const progressDelay = time.Second

// progress is a line on a terminal that says how far something is. On anything
// else it says nothing.
type progress struct {
	w    io.Writer // nil if it is no terminal
	what string

	mu    sync.Mutex
	shown time.Time
	next  time.Time
}

func (a *app) newProgress(what string) *progress {
	p := &progress{what: what, next: time.Now().Add(progressDelay)}
	if _, ok := terminal(a.streams.Err); ok {
		p.w = a.streams.Err
	}
	return p
}

// show is told how much is done, often; it writes ten times a second.
func (p *progress) show(done, all int) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.shown, p.next = now, now.Add(progressDelay/10)
	fmt.Fprintf(p.w, "\r%s: %d of %d\x1b[K", p.what, done, all)
}

// clear takes the line away.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = time.Time{}
	}
}
