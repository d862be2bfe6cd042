package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// NewClient returns a client that speaks protobuf, which costs a fraction of
// JSON's time and garbage, and accepts JSON as well.
func NewClient(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of API server %s: %w", config.Host, err)
	}
	return client, nil
}

// APIOptions change how an APISource works. The zero value is what an agent
// wants.
type APIOptions struct {
	// ProblemInterval is the least time between two Problem events about the same
	// resource, one minute if zero.
	ProblemInterval time.Duration
}

// APISource is the API server as a Source. All pods of the cluster are followed,
// as each may be a peer of one on this node.
//
// While the API server is away, what was last known stays in force; when it is
// back, only what has really changed meanwhile is emitted.
type APISource struct {
	client kubernetes.Interface
	queue  *queue
	health *health
}

// NewAPISource returns a source that reads through client, best one from
// NewClient.
func NewAPISource(client kubernetes.Interface, o APIOptions) *APISource {
	if o.ProblemInterval == 0 {
		o.ProblemInterval = time.Minute
	}
	return &APISource{
		client: client,
		queue:  newQueue(),
		health: newHealth(o.ProblemInterval, clock.RealClock{}, "namespaces", "nodes", "networkpolicies", "pods"),
	}
}

// Healthy returns nil if the last request for every resource succeeded, else
// what went wrong. A server that vanished without closing its connections is
// noticed when HTTP/2 pings go unanswered, after 45 seconds (client-go's
// HTTP2_READ_IDLE_TIMEOUT_SECONDS and HTTP2_PING_TIMEOUT_SECONDS).
func (s *APISource) Healthy() error { return s.health.err() }

// Run implements Source. It lists until it succeeds, however long the API server
// may be away.
func (s *APISource) Run(ctx context.Context, emit func([]Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	var informers sync.WaitGroup
	defer informers.Wait()
	defer cancel()

	synced, err := s.start(ctx, &informers)
	if err != nil {
		return err
	}
	informers.Go(func() {
		if synced.wait(ctx) {
			s.queue.push(Event{Synced: true})
		}
	})
	s.queue.run(ctx, emit)
	return nil
}

// start runs one informer for each resource.
func (s *APISource) start(ctx context.Context, running *sync.WaitGroup) (registrations, error) {
	core, shared := s.client.CoreV1(), &shapes{}
	follow := []struct {
		resource, kind string
		example        runtime.Object
		listWatch      *cache.ListWatch
	}{
		{"namespaces", kindNamespace, &corev1.Namespace{}, listWatch(core.Namespaces(), s.observer("namespaces"))},
		{"nodes", kindNode, &corev1.Node{}, listWatch(core.Nodes(), s.observer("nodes"))},
		{"networkpolicies", kindPolicy, &networkingv1.NetworkPolicy{},
			listWatch(s.client.NetworkingV1().NetworkPolicies(corev1.NamespaceAll), s.observer("networkpolicies"))},
		{"pods", kindPod, &corev1.Pod{}, listWatch(core.Pods(corev1.NamespaceAll), s.observer("pods"))},
	}
	var synced registrations
	for _, f := range follow {
		// No index and no resync: the store is only there so that the informer knows
		// what a new list has lost.
		informer := cache.NewSharedIndexInformer(f.listWatch, f.example, 0, cache.Indexers{})
		if err := informer.SetTransform(trimmer(shared)); err != nil {
			return nil, fmt.Errorf("informer of %s: %w", f.resource, err)
		}
		if err := informer.SetWatchErrorHandlerWithContext(s.watchError(f.resource)); err != nil {
			return nil, fmt.Errorf("informer of %s: %w", f.resource, err)
		}
		registration, err := informer.AddEventHandler(handler(f.kind, s.queue.push))
		if err != nil {
			return nil, fmt.Errorf("informer of %s: %w", f.resource, err)
		}
		synced = append(synced, registration)
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	return synced, nil
}

// observer follows the requests for a resource and lets their failures become
// Problem events.
func (s *APISource) observer(resource string) func(context.Context, error) {
	return func(ctx context.Context, err error) {
		if problem := s.health.observe(ctx, resource, err); problem != nil {
			s.queue.push(Event{Problem: fmt.Errorf("API server: %w", problem)})
		}
	}
}

// watchError takes what ends a watch after it has begun. Failed requests are
// among it, and already known to the observer.
func (s *APISource) watchError(resource string) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, _ *cache.Reflector, err error) {
		if errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return // the ordinary end of a watch
		}
		klog.FromContext(ctx).V(2).Info("Watch ended, listing anew", "resource", resource, "err", err)
	}
}

// registrations are the informers' handlers.
type registrations []cache.ResourceEventHandlerRegistration

// wait returns true once every handler has been through the first list, false if
// ctx is done before. client-go offers nothing but asking now and then.
func (r registrations) wait(ctx context.Context) bool {
	err := wait.PollUntilContextCancel(ctx, 10*time.Millisecond, true, func(context.Context) (bool, error) {
		for _, registration := range r {
			if !registration.HasSynced() {
				return false, nil
			}
		}
		return true, nil
	})
	return err == nil
}
