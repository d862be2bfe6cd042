package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	testclock "k8s.io/utils/clock/testing"
)

func TestHealth(t *testing.T) {
	ctx, refused := t.Context(), errors.New("connection refused")
	clock := testclock.NewFakePassiveClock(time.Now())
	h := newHealth(time.Minute, clock, "nodes", "pods")
	wantError(t, h.err(), "nodes: not listed yet\npods: not listed yet")

	wantError(t, h.observe(ctx, "nodes", nil), "")
	wantError(t, h.observe(ctx, "pods", refused), "pods: connection refused")
	wantError(t, h.err(), "pods: connection refused")

	// The same again is not told again, until the interval is over.
	wantError(t, h.observe(ctx, "pods", refused), "")
	clock.SetTime(clock.Now().Add(time.Minute))
	wantError(t, h.observe(ctx, "pods", refused), "pods: connection refused")

	wantError(t, h.observe(ctx, "pods", nil), "")
	wantError(t, h.err(), "")

	// A watch that expired was answered.
	wantError(t, h.observe(ctx, "pods", apierrors.NewResourceExpired("too old")), "")
	wantError(t, h.err(), "")

	// What fails because the source stops says nothing about the server.
	stopped, stop := context.WithCancel(ctx)
	stop()
	wantError(t, h.observe(stopped, "pods", context.Canceled), "")
	wantError(t, h.err(), "")
}
