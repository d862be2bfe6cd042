package apiserver

import (
	"testing"
	"time"
)

// eventually calls f until it succeeds, and fails the test if it never does.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %v", what, err)
		case <-poll.C:
		}
	}
}
