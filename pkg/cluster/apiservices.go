package cluster

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Which Services are not for another proxy, and which slices are of those and of
// no headless Service. The API server leaves the others out.
const (
	ownServices = "!" + labelOtherProxy
	ownSlices   = ownServices + ",!" + corev1.IsHeadlessService
)

// followedServices are the resources that make up Services.
func (s *APISource) followedServices() []followed {
	core, networking, discovery := s.client.CoreV1(), s.client.NetworkingV1(), s.client.DiscoveryV1()
	return []followed{
		following(s, "servicecidrs", kindRange, &networkingv1.ServiceCIDR{},
			unlessUnknown[*networkingv1.ServiceCIDRList]{networking.ServiceCIDRs(), &networkingv1.ServiceCIDRList{}}),
		following(s, "services", kindService, &corev1.Service{},
			selected[*corev1.ServiceList]{core.Services(corev1.NamespaceAll), ownServices}),
		following(s, "endpointslices", kindSlice, &discoveryv1.EndpointSlice{},
			selected[*discoveryv1.EndpointSliceList]{discovery.EndpointSlices(corev1.NamespaceAll), ownSlices}),
	}
}

// selected is a client of the objects that a label selector picks.
type selected[L runtime.Object] struct {
	client[L]
	selector string
}

func (s selected[L]) List(ctx context.Context, o metav1.ListOptions) (L, error) {
	o.LabelSelector = s.selector
	return s.client.List(ctx, o)
}

func (s selected[L]) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.LabelSelector = s.selector
	return s.client.Watch(ctx, o)
}

// unlessUnknown is a client of a resource that older API servers don't have: there
// it finds nothing, and asks again when a watch would end, as the API server may
// have become a newer one by then.
type unlessUnknown[L runtime.Object] struct {
	client[L]
	none L
}

func (u unlessUnknown[L]) List(ctx context.Context, o metav1.ListOptions) (L, error) {
	list, err := u.client.List(ctx, o)
	if apierrors.IsNotFound(err) {
		return u.none, nil
	}
	return list, err
}

func (u unlessUnknown[L]) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	w, err := u.client.Watch(ctx, o)
	if apierrors.IsNotFound(err) && o.TimeoutSeconds != nil && o.SendInitialEvents == nil {
		return idle(ctx, time.Duration(*o.TimeoutSeconds)*time.Second), nil
	}
	return w, err
}

// idle returns a watch in which nothing happens, and that ends in time.
func idle(ctx context.Context, length time.Duration) watch.Interface {
	events := make(chan watch.Event)
	w := watch.NewProxyWatcher(events)
	go func() {
		defer close(events)
		end := time.NewTimer(length)
		defer end.Stop()
		select {
		case <-end.C:
		case <-w.StopChan():
		case <-ctx.Done():
		}
	}()
	return w
}
