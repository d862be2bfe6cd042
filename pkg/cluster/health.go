package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

var errNotListed = errors.New("not listed yet")

// health knows how the last request of each resource to the API server ended. It
// watches the requests themselves: a reflector retries a refused connection for
// as long as it takes without telling anyone.
type health struct {
	interval time.Duration // between two reports about one resource
	clock    clock.PassiveClock

	mu       sync.Mutex
	order    []string             // resources, as added
	failing  map[string]error     // nil after a request that succeeded
	answered map[string]time.Time // when a request last succeeded
	reported map[string]time.Time // when a failure was last reported
}

func newHealth(interval time.Duration, c clock.PassiveClock, resources ...string) *health {
	h := &health{interval: interval, clock: c, order: resources,
		failing: make(map[string]error), answered: make(map[string]time.Time), reported: make(map[string]time.Time)}
	for _, r := range resources {
		h.failing[r] = fmt.Errorf("%s: %w", r, errNotListed)
	}
	return h
}

// err is nil if the last request of every resource succeeded.
func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, r := range h.order {
		errs = append(errs, h.failing[r])
	}
	return errors.Join(errs...)
}

// Followed says how well a resource is followed.
type Followed struct {
	Resource string
	// Err is why the last request failed, nil if it did not; Answered is when one
	// last succeeded, zero if none has. A watch is one request, which the server ends
	// after some minutes.
	Err      error
	Answered time.Time
}

// list tells of all resources.
func (h *health) list() []Followed {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []Followed
	for _, r := range h.order {
		out = append(out, Followed{Resource: r, Err: h.failing[r], Answered: h.answered[r]})
	}
	return out
}

// observe takes the outcome of a request and returns the error if it is one to
// report: not before interval has passed since the last report.
func (h *health) observe(ctx context.Context, resource string, err error) error {
	if err != nil && ctx.Err() != nil {
		return nil // the request was given up by us
	}
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		err = nil // an answer: the reflector lists anew
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.failing[resource]
	if err == nil {
		if was != nil && !errors.Is(was, errNotListed) {
			klog.FromContext(ctx).Info("API server answers again", "resource", resource)
		}
		h.failing[resource], h.answered[resource] = nil, h.clock.Now()
		return nil
	}
	h.failing[resource] = fmt.Errorf("%s: %w", resource, err)
	return h.report(resource)
}

// report returns what is wrong with the resource unless that was told lately.
// The caller holds mu.
func (h *health) report(resource string) error {
	now := h.clock.Now()
	if last, ok := h.reported[resource]; ok && now.Sub(last) < h.interval {
		return nil
	}
	h.reported[resource] = now
	return h.failing[resource]
}

// client is what the typed clients of all resources have in common.
type client[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// listWatch lets a reflector list and watch through c, with every outcome
// observed.
func listWatch[L runtime.Object](c client[L], observe func(context.Context, error)) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := c.List(ctx, o)
			observe(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := c.Watch(ctx, o)
			observe(ctx, err)
			return w, err
		},
	}
}
