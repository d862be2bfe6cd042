package cluster

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// entry is what an informer's store holds in place of an API object. The store
// reads no more of it than ObjectMetaAccessor gives, so nothing of the original
// needs to be kept.
type entry struct {
	object          object
	resourceVersion string
	problem         error    // what the object has that could not be used
	shape           *shape   // keeps shared what a pod shares
	strings         interned // keeps shared what a slice shares
}

// GetObjectMeta implements metav1.ObjectMetaAccessor with the fields by which an
// informer finds an object and tells its versions apart.
func (e *entry) GetObjectMeta() metav1.Object {
	id := identify(e.object)
	return &metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, ResourceVersion: e.resourceVersion}
}

// trimmer makes entries of API objects. It is an informer's transform function,
// hence may see an object that it has made itself.
func trimmer(shared *shapes) cache.TransformFunc {
	return func(in any) (any, error) {
		e := &entry{}
		switch in := in.(type) {
		case *entry:
			return in, nil
		case *corev1.Pod:
			pod, problem := TrimPod(in)
			e.object, e.problem, e.resourceVersion = pod, problem, in.ResourceVersion
			e.shape = shared.share(pod)
		case *corev1.Namespace:
			e.object, e.resourceVersion = TrimNamespace(in), in.ResourceVersion
		case *corev1.Node:
			node, problem := TrimNode(in)
			e.object, e.problem, e.resourceVersion = node, problem, in.ResourceVersion
		case *networkingv1.NetworkPolicy:
			e.object, e.resourceVersion = TrimPolicy(in), in.ResourceVersion
		case *corev1.Service:
			service, problem := TrimService(in)
			e.object, e.problem, e.resourceVersion = service, problem, in.ResourceVersion
		case *discoveryv1.EndpointSlice:
			slice, problem := TrimSlice(in)
			e.object, e.problem, e.resourceVersion = slice, problem, in.ResourceVersion
			e.strings = slice.intern()
		case *networkingv1.ServiceCIDR:
			cidr, problem := TrimServiceCIDR(in)
			e.object, e.problem, e.resourceVersion = cidr, problem, in.ResourceVersion
		default:
			return nil, fmt.Errorf("an informer delivered a %T, which is not followed", in)
		}
		return e, nil
	}
}

// handler turns an informer's notifications into events of the given kind.
func handler(kind string, push func(...Event)) cache.ResourceEventHandler {
	set := func(from, to *entry) {
		if to.problem != nil && (from == nil || from.problem == nil || from.problem.Error() != to.problem.Error()) {
			push(Event{Problem: to.problem})
		}
		if from == nil {
			push(event(to.object, false))
		} else {
			push(changes(from.object, to.object)...)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(in any) { set(nil, in.(*entry)) },
		UpdateFunc: func(from, to any) { set(from.(*entry), to.(*entry)) },
		DeleteFunc: func(in any) { push(event(lastKnown(kind, in), true)) },
	}
}

// lastKnown is the object of a delete notification. An informer that learns of a
// deletion only by listing anew hands over a tombstone with what it last knew.
func lastKnown(kind string, in any) object {
	tombstone, ok := in.(cache.DeletedFinalStateUnknown)
	if ok {
		in = tombstone.Obj
	}
	if e, ok := in.(*entry); ok && e != nil {
		return e.object
	}
	id := identity{kind: kind}
	// The key is one an informer made of GetObjectMeta: it always splits.
	id.Namespace, id.Name, _ = cache.SplitMetaNamespaceKey(tombstone.Key)
	return newObject(id)
}
