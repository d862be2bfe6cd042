package sandbox

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWaitForTheMachinesAge(t *testing.T) {
	up, err := uptime()
	if err != nil || up <= 0 {
		t.Fatalf("uptime %v, error %v", up, err)
	}
	if err := waitUptime(t.Context(), up); err != nil {
		t.Errorf("a machine that is old enough: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := waitUptime(ctx, up+time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a machine that is not: %v", err)
	}
	start := time.Now()
	if err := waitUptime(t.Context(), up+100*time.Millisecond); err != nil {
		t.Error(err)
	}
	if now, err := uptime(); err != nil || now < up+90*time.Millisecond { // /proc/uptime has hundredths
		t.Errorf("uptime %v after a wait of %v, want %v more than %v; error %v", now, time.Since(start), 100*time.Millisecond, up, err)
	}
}
