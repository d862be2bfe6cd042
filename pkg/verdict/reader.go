package verdict

import (
	"context"
	"errors"
	"sync"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// ErrClosed says that the stream has ended.
var ErrClosed = errors.New("the stream of verdicts has ended")

// readerQueue is how many events wait for a reader before it loses some.
const readerQueue = 1024

// Reader gets the events that its filter wants. It is used by one goroutine.
type Reader struct {
	filter api.WatchFilter
	stream *Stream

	mu     sync.Mutex
	queue  []*api.Event // at most readerQueue
	lost   uint64
	wake   chan struct{} // has one place
	closed chan struct{}
}

// put never waits: of a queue that is full the oldest event goes.
func (r *Reader) put(e *api.Event) {
	if !r.filter.Match(e) {
		return
	}
	r.mu.Lock()
	if len(r.queue) == readerQueue {
		r.queue = append(r.queue[:0], r.queue[1:]...)
		r.lost++
		r.stream.lost.Add(1)
	}
	r.queue = append(r.queue, e)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Reader) take() (events []*api.Event, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	events, lost = r.queue, r.lost
	r.queue, r.lost = nil, 0
	return events, lost
}

// Next waits for events. lost is how many came before these and were thrown away
// because the reader was too slow.
func (r *Reader) Next(ctx context.Context) (events []*api.Event, lost uint64, err error) {
	for {
		if events, lost = r.take(); len(events) > 0 {
			return events, lost, nil
		}
		select {
		case <-r.wake:
		case <-r.closed:
			if events, lost = r.take(); len(events) > 0 {
				return events, lost, nil
			}
			return nil, 0, ErrClosed
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
}

// Close ends reading.
func (r *Reader) Close() { r.stream.remove(r) }
