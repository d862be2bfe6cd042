package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// deadline is how long a test waits for what must come. Once the API server has
// been away a reflector may wait a minute before it asks again.
const deadline = 2 * time.Minute

// recorder runs a source and keeps what it has emitted.
type recorder struct {
	t       *testing.T
	changed chan struct{}

	mu       sync.Mutex
	lines    []string // events as text, see line
	problems []string
	objects  map[identity]object
}

// record runs the source until the test ends.
func record(t *testing.T, source Source) *recorder {
	t.Helper()
	r := &recorder{t: t, changed: make(chan struct{}, 1), objects: make(map[identity]object)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- source.Run(ctx, r.emit) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

func (r *recorder) emit(events []Event) {
	r.mu.Lock()
	for _, e := range events {
		r.lines = append(r.lines, line(e))
		if e.Problem != nil {
			r.problems = append(r.problems, e.Problem.Error())
			continue
		}
		if o := objectOf(e); e.Deleted {
			delete(r.objects, identify(o))
		} else if o != nil {
			r.objects[identify(o)] = o
		}
	}
	r.mu.Unlock()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// objectOf returns the object of an event, nil if it has none.
func objectOf(e Event) object {
	switch {
	case e.Pod != nil:
		return e.Pod
	case e.Namespace != nil:
		return e.Namespace
	case e.Node != nil:
		return e.Node
	case e.Policy != nil:
		return e.Policy
	case e.Service != nil:
		return e.Service
	case e.Slice != nil:
		return e.Slice
	case e.ServiceCIDR != nil:
		return e.ServiceCIDR
	}
	return nil
}

// line describes an event: "Pod shop/web", "deleted Pod shop/web", "synced", or
// "problem" with its text.
func line(e Event) string {
	switch {
	case e.Synced:
		return "synced"
	case e.Problem != nil:
		return "problem " + e.Problem.Error()
	case e.Deleted:
		return "deleted " + identify(objectOf(e)).String()
	}
	return identify(objectOf(e)).String()
}

// until waits until ok is true of the recorder or of anything else, and fails the
// test if it never is.
func (r *recorder) until(what string, ok func() bool) {
	r.t.Helper()
	late, look := time.After(deadline), time.NewTicker(20*time.Millisecond)
	defer look.Stop()
	for {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-r.changed:
		case <-look.C:
		case <-late:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("waited %s for %s; events so far:\n  %s", deadline, what, strings.Join(r.lines, "\n  "))
		}
	}
}

// untilLine waits for an event, not yet taken, whose text begins with prefix.
func (r *recorder) untilLine(prefix string) {
	r.t.Helper()
	r.until(fmt.Sprintf("%q", prefix), func() bool {
		return slices.ContainsFunc(r.lines, func(l string) bool { return strings.HasPrefix(l, prefix) })
	})
}

// take returns the events recorded since it was last called.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// pod returns a pod as last emitted, nil if there is none.
func (r *recorder) pod(namespace, name string) *Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	pod, _ := r.objects[identity{kindPod, Key{namespace, name}}].(*Pod)
	return pod
}

// wantLines compares events with what they should be, by prefix.
func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("got events\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
