// Package manifest reads Kubernetes manifests strictly: a field nobody knows is
// an error, not a setting silently lost, and every error says in which file,
// document, object and field it is.
//
// It reads the kinds that describe pods and what may be sent between them. It
// does no I/O and does not know what a policy means.
package manifest

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// ID names an object of a manifest.
type ID struct {
	Kind string
	// Namespace is "default" where a namespaced object states none, and empty for
	// kinds that live in no namespace.
	Namespace string
	Name      string
}

// String returns the kind and name, as in "Pod shop/web".
func (id ID) String() string {
	if id.Namespace == "" {
		return id.Kind + " " + id.Name
	}
	return id.Kind + " " + id.Namespace + "/" + id.Name
}

// Place is where in a file something stands.
type Place struct {
	// File is the name given to Parse.
	File string
	// Document counts the documents of the file from 1. One of comments only counts,
	// separators with nothing between them do not.
	Document int
	// Item counts the items of a list from 1; zero outside of lists.
	Item int
}

// String returns the place as in "web.yaml: document 2, item 1".
func (p Place) String() string {
	if p.Item == 0 {
		return fmt.Sprintf("%s: document %d", p.File, p.Document)
	}
	return fmt.Sprintf("%s: document %d, item %d", p.File, p.Document, p.Item)
}

// Object is an object read from a manifest.
type Object struct {
	ID    ID
	Place Place
	// Value is a *corev1.Pod, *corev1.Namespace, *corev1.Node,
	// *networkingv1.NetworkPolicy, *corev1.Service, *discoveryv1.EndpointSlice,
	// *networkingv1.ServiceCIDR, *appsv1.Deployment, *appsv1.StatefulSet,
	// *appsv1.DaemonSet or *appsv1.ReplicaSet. Its name, namespace and labels are
	// valid; no field has been given a default but the namespace.
	Value runtime.Object
}

// Error says what could not be read.
type Error struct {
	Place Place
	// ID names the object if that much could be read of it. Without a Name it is
	// not known which objects the document was to declare.
	ID  ID
	Err error
}

// Error returns "file: document: object: what is wrong".
func (e *Error) Error() string {
	if e.ID.Name == "" {
		return fmt.Sprintf("%s: %v", e.Place, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Place, e.ID, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Ignored is an object of a kind that is not read.
type Ignored struct {
	Place Place
	Kind  schema.GroupVersionKind
}

// Content is all that one file holds.
type Content struct {
	Objects []Object
	Ignored []Ignored
	Errors  []*Error
}

// kinds are those that Parse reads. The value says whether a kind is namespaced.
var kinds = map[schema.GroupVersionKind]bool{
	corev1.SchemeGroupVersion.WithKind("Namespace"):           false,
	corev1.SchemeGroupVersion.WithKind("Node"):                false,
	corev1.SchemeGroupVersion.WithKind("Pod"):                 true,
	networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"): true,
	corev1.SchemeGroupVersion.WithKind("Service"):             true,
	discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"):  true,
	networkingv1.SchemeGroupVersion.WithKind("ServiceCIDR"):   false,
	appsv1.SchemeGroupVersion.WithKind("Deployment"):          true,
	appsv1.SchemeGroupVersion.WithKind("StatefulSet"):         true,
	appsv1.SchemeGroupVersion.WithKind("DaemonSet"):           true,
	appsv1.SchemeGroupVersion.WithKind("ReplicaSet"):          true,
}

// Kinds lists the kinds that Parse reads, for messages.
const Kinds = "Namespace, Node, Pod, NetworkPolicy, Service, EndpointSlice, ServiceCIDR, Deployment, StatefulSet, DaemonSet and ReplicaSet"

// decoder refuses fields that a kind does not have and keys that stand twice.
var decoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, networkingv1.AddToScheme, discoveryv1.AddToScheme, appsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(fmt.Sprintf("manifest: register API types: %v", err))
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

// isList reports whether a kind is one whose items are objects: List itself, or
// the list of a kind such as PodList.
func isList(gvk schema.GroupVersionKind) bool { return strings.HasSuffix(gvk.Kind, "List") }
