package cluster

import (
	"context"
	"sync"
	"time"
)

// queue carries events from the informers' goroutines to the one that emits.
type queue struct {
	mu     sync.Mutex
	events []Event
	ready  chan struct{} // holds a token while events may be waiting
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// push appends events. It never waits for the receiver.
func (q *queue) push(events ...Event) {
	if len(events) == 0 {
		return
	}
	now := time.Now()
	q.mu.Lock()
	for _, e := range events {
		e.Heard = now
		q.events = append(q.events, e)
	}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// drain takes all events that wait.
func (q *queue) drain() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events = nil
	return events
}

// run emits events, all that wait at once, until ctx is done.
func (q *queue) run(ctx context.Context, emit func([]Event)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.ready:
			if events := q.drain(); len(events) > 0 {
				emit(events)
			}
		}
	}
}
