package cni

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestKeyLockSerialisesOneKeyOnly(t *testing.T) {
	var l keyLock
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a held key was given away: %v", err)
	}
	unlock()

	var each [2]int // each element is written under the lock of its key alone
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			unlock, err := l.lock(t.Context(), string(rune('a'+i%2)))
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			each[i%2]++
		})
	}
	all.Wait()
	if each != [2]int{100, 100} {
		t.Errorf("counted %v", each)
	}
	if len(l.held) != 0 {
		t.Errorf("%d keys are left", len(l.held))
	}
}
