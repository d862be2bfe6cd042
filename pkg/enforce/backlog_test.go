package enforce

import (
	"testing"
	"time"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// As long as the bridge can't be written what the cluster tells is in the compiler,
// and nowhere else.
func TestEventsAreNotKeptForABridgeThatCannotBeWritten(t *testing.T) {
	e := New(Config{})
	e.started = true
	var waiting []*request
	for range 2 * maxHeard {
		e.absorb([]*request{{events: []cluster.Event{{Heard: time.Now(), Pod: &cluster.Pod{}}}}}, &waiting)
	}
	if len(waiting) > 0 || len(e.heard) > maxHeard {
		t.Errorf("%d requests that nobody waits for, and the times of %d events", len(waiting), len(e.heard))
	}
	e.absorb([]*request{{events: []cluster.Event{}, done: make(chan error, 1)}}, &waiting)
	if len(waiting) != 1 {
		t.Errorf("%d requests, want the one that somebody waits for", len(waiting))
	}
}
