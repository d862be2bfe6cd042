package cni

import (
	"context"
	"sync"
)

// keyLock serialises work by key: one holder of a key at a time, whatever goes on
// under other keys.
type keyLock struct {
	mu   sync.Mutex // guards held, never kept while waiting
	held map[string]*holder
}

type holder struct {
	turn    chan struct{} // has room for the one that holds the key
	waiting int           // holders and waiters; the entry goes with the last
}

// lock waits for the key and returns the function that gives it back, or the
// context's error.
func (l *keyLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = make(map[string]*holder)
	}
	h := l.held[key]
	if h == nil {
		h = &holder{turn: make(chan struct{}, 1)}
		l.held[key] = h
	}
	h.waiting++
	l.mu.Unlock()

	select {
	case h.turn <- struct{}{}:
		return func() { <-h.turn; l.leave(key, h) }, nil
	case <-ctx.Done():
		l.leave(key, h)
		return nil, context.Cause(ctx)
	}
}

func (l *keyLock) leave(key string, h *holder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.waiting--; h.waiting == 0 {
		delete(l.held, key)
	}
}
