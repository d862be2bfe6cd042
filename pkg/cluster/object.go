package cluster

import (
	"maps"
	"reflect"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
)

// object is one of the trimmed types: *Pod, *Namespace, *Node,
// *networkingv1.NetworkPolicy, *Service, *EndpointSlice or *ServiceCIDR.
type object any

// identity names an object among all objects of a cluster. Namespaces and nodes
// have no namespace.
type identity struct {
	kind string // as in a manifest
	Key
}

// String returns the kind and name, as in "Pod shop/web-0".
func (id identity) String() string {
	if id.Namespace == "" {
		return id.kind + " " + id.Name
	}
	return id.kind + " " + id.Key.String()
}

// Kinds of trimmed objects.
const (
	kindPod       = "Pod"
	kindNamespace = "Namespace"
	kindNode      = "Node"
	kindPolicy    = "NetworkPolicy"
	kindService   = "Service"
	kindSlice     = "EndpointSlice"
	kindRange     = "ServiceCIDR"
)

// newObject returns an object of which no more than its name is known.
func newObject(id identity) object {
	switch id.kind {
	case kindPod:
		return &Pod{Key: id.Key}
	case kindNamespace:
		return &Namespace{Name: id.Name}
	case kindNode:
		return &Node{Name: id.Name}
	case kindService:
		return &Service{Key: id.Key}
	case kindSlice:
		return &EndpointSlice{Key: id.Key}
	case kindRange:
		return &ServiceCIDR{Name: id.Name}
	default:
		policy := &networkingv1.NetworkPolicy{}
		policy.Namespace, policy.Name = id.Namespace, id.Name
		return policy
	}
}

// identify names an object.
func identify(o object) identity {
	switch o := o.(type) {
	case *Pod:
		return identity{kindPod, o.Key}
	case *Namespace:
		return identity{kindNamespace, Key{Name: o.Name}}
	case *Node:
		return identity{kindNode, Key{Name: o.Name}}
	case *networkingv1.NetworkPolicy:
		return identity{kindPolicy, Key{Namespace: o.Namespace, Name: o.Name}}
	case *Service:
		return identity{kindService, o.Key}
	case *EndpointSlice:
		return identity{kindSlice, o.Key}
	case *ServiceCIDR:
		return identity{kindRange, Key{Name: o.Name}}
	}
	return identity{}
}

// event announces an object, or its end.
func event(o object, deleted bool) Event {
	e := Event{Deleted: deleted}
	switch o := o.(type) {
	case *Pod:
		e.Pod = o
	case *Namespace:
		e.Namespace = o
	case *Node:
		e.Node = o
	case *networkingv1.NetworkPolicy:
		e.Policy = o
	case *Service:
		e.Service = o
	case *EndpointSlice:
		e.Slice = o
	case *ServiceCIDR:
		e.ServiceCIDR = o
	}
	return e
}

// changes are the events that lead from one version of an object to the next;
// none if they are equal. A pod's uid tells one pod from its successor of the
// same name.
func changes(from, to object) []Event {
	if equal(from, to) {
		return nil
	}
	if a, ok := from.(*Pod); ok && a.UID != to.(*Pod).UID {
		return []Event{event(from, true), event(to, false)}
	}
	return []Event{event(to, false)}
}

// equal compares two objects of the same type.
func equal(a, b object) bool {
	switch a := a.(type) {
	case *Pod:
		b := b.(*Pod)
		return a.Key == b.Key && a.UID == b.UID && a.Node == b.Node && maps.Equal(a.Labels, b.Labels) &&
			slices.Equal(a.IPs, b.IPs) && a.HostNetwork == b.HostNetwork && a.Finished == b.Finished &&
			slices.Equal(a.Ports, b.Ports)
	case *Namespace:
		b := b.(*Namespace)
		return a.Name == b.Name && maps.Equal(a.Labels, b.Labels)
	case *Node:
		b := b.(*Node)
		return a.Name == b.Name && slices.Equal(a.PodCIDRs, b.PodCIDRs) && slices.Equal(a.Addrs, b.Addrs) &&
			slices.Equal(a.Internal, b.Internal) && a.Zone == b.Zone && a.Created == b.Created
	case *EndpointSlice:
		b := b.(*EndpointSlice)
		return a.Key == b.Key && a.Service == b.Service && slices.Equal(a.Ports, b.Ports) &&
			slices.EqualFunc(a.Endpoints, b.Endpoints, equalEndpoint)
	}
	return reflect.DeepEqual(a, b)
}

func equalEndpoint(a, b Endpoint) bool {
	return a.Addr == b.Addr && a.Node == b.Node && a.Ready == b.Ready && a.Serving == b.Serving && a.Terminating == b.Terminating &&
		slices.Equal(a.ForZones, b.ForZones) && slices.Equal(a.ForNodes, b.ForNodes)
}
