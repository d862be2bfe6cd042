package cluster

import (
	"context"
	"encoding/json"
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
	"k8s.io/apimachinery/pkg/version"
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
	// Services lets the source tell of Services, EndpointSlices and ServiceCIDRs, too.
	// They are most of what changes in a cluster, and of no use to who balances
	// nothing.
	Services bool
}

// APISource is the API server as a Source. All pods of the cluster are followed,
// as each may be a peer of one on this node.
//
// While the API server is away, what was last known stays in force; when it is
// back, only what has really changed meanwhile is emitted.
type APISource struct {
	client   kubernetes.Interface
	services bool
	queue    *queue
	health   *health
}

// NewAPISource returns a source that reads through client, best one from
// NewClient.
func NewAPISource(client kubernetes.Interface, o APIOptions) *APISource {
	if o.ProblemInterval == 0 {
		o.ProblemInterval = time.Minute
	}
	s := &APISource{client: client, services: o.Services, queue: newQueue()}
	var resources []string
	for _, f := range s.followed() {
		resources = append(resources, f.resource)
	}
	s.health = newHealth(o.ProblemInterval, clock.RealClock{}, resources...)
	return s
}

// Healthy returns nil if the last request for every resource succeeded, else
// what went wrong. A server that vanished without closing its connections is
// noticed when HTTP/2 pings go unanswered, after 45 seconds (client-go's
// HTTP2_READ_IDLE_TIMEOUT_SECONDS and HTTP2_PING_TIMEOUT_SECONDS).
func (s *APISource) Healthy() error { return s.health.err() }

// Followed tells of every resource how well it is followed.
func (s *APISource) Followed() []Followed { return s.health.list() }

// Version asks the API server for its version, on a request of its own.
func (s *APISource) Version(ctx context.Context) (string, error) {
	var info version.Info
	data, err := s.client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err == nil {
		err = json.Unmarshal(data, &info)
	}
	if err != nil {
		return "", fmt.Errorf("ask the API server for its version: %w", err)
	}
	return info.GitVersion, nil
}

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

// followed is a resource that a source follows.
type followed struct {
	resource, kind string
	example        runtime.Object
	listWatch      *cache.ListWatch
}

// following returns how a resource is read through c.
func following[L runtime.Object](s *APISource, resource, kind string, example runtime.Object, c client[L]) followed {
	return followed{resource, kind, example, listWatch(c, s.observer(resource))}
}

// followed are the resources, those first that others refer to.
func (s *APISource) followed() []followed {
	core, networking := s.client.CoreV1(), s.client.NetworkingV1()
	all := []followed{
		following(s, "namespaces", kindNamespace, &corev1.Namespace{}, core.Namespaces()),
		following(s, "nodes", kindNode, &corev1.Node{}, core.Nodes()),
		following(s, "networkpolicies", kindPolicy, &networkingv1.NetworkPolicy{}, networking.NetworkPolicies(corev1.NamespaceAll)),
		following(s, "pods", kindPod, &corev1.Pod{}, core.Pods(corev1.NamespaceAll)),
	}
	if s.services {
		all = append(all, s.followedServices()...)
	}
	return all
}

// start runs one informer for each resource.
func (s *APISource) start(ctx context.Context, running *sync.WaitGroup) (registrations, error) {
	shared := &shapes{}
	var synced registrations
	for _, f := range s.followed() {
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
