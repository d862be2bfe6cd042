// Package cluster is what Sluice knows of a Kubernetes cluster: pods, their
// namespaces, nodes, policies and Services, trimmed to what enforcement needs.
//
// It comes from one of two sources behind the same interface: the API server,
// through client-go informers, or a folder of YAML manifests that is followed
// as it changes.
package cluster

import (
	"net/netip"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
)

// Key names a namespaced object.
type Key struct {
	Namespace, Name string
}

// String returns "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Pod is a pod, trimmed to what policies and the node need.
type Pod struct {
	Key
	// UID is the pod's uid as the kubelet hands it to a CNI plugin; for a static
	// pod that is the value of the kubernetes.io/config.hash annotation, not the
	// mirror pod's metadata.uid. Empty if nothing says it, as in a manifest without
	// a uid.
	UID string
	// Node is the name of the node the pod is bound to, empty if to none yet.
	Node   string
	Labels map[string]string
	// IPs are all addresses of status.podIPs; empty until the pod has some, and
	// again once it is Finished.
	IPs []netip.Addr
	// HostNetwork pods are neither subjects nor peers of policies.
	HostNetwork bool
	// Finished pods (Succeeded or Failed) have given back their addresses.
	Finished bool
	// Ports are the named container ports, those of restartable init containers
	// included. Of those with the same name and protocol only the first is here: it
	// is the one that counts, as for a Service's targetPort.
	Ports []NamedPort
}

// NamedPort is a container port that has a name.
type NamedPort struct {
	Name     string
	Protocol string // "TCP", "UDP" or "SCTP"
	Port     uint16
}

// Namespace is a namespace with its labels.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Node is a node of the cluster.
type Node struct {
	Name string
	// PodCIDRs are spec.podCIDRs.
	PodCIDRs []netip.Prefix
	// Addrs are the node's InternalIP and ExternalIP addresses.
	Addrs []netip.Addr
	// Internal are those of Addrs that are an InternalIP, in the order of
	// status.addresses: where other nodes reach it.
	Internal []netip.Addr
	// Zone is the label topology.kubernetes.io/zone, empty if there is none.
	Zone string
	// Created is the time of metadata.creationTimestamp, in seconds since 1970; zero
	// if nothing says it.
	Created int64
	// Leaving is true for a node that is being deleted, or that the cluster's autoscaler
	// is about to: load balancers should send it no new connections.
	Leaving bool
}

// Event is one change of the cluster: exactly one of the object fields is set,
// or Synced is true, or Problem is set. Objects are shared between events and
// with the source; whoever receives one must not change it.
type Event struct {
	// Heard is when the source heard of the change: for an API server when the
	// informer handed it over. Zero if that is not known.
	Heard time.Time
	// Deleted is true if the object is gone; its last known state, or at least its
	// name, is then in the object field.
	Deleted   bool
	Pod       *Pod
	Namespace *Namespace
	Node      *Node
	Policy    *networkingv1.NetworkPolicy
	Service   *Service
	Slice     *EndpointSlice
	// ServiceCIDR is a range that Services' addresses are taken from.
	ServiceCIDR *ServiceCIDR
	// Synced marks the end of the first listing: what has come before it is all
	// there was when the source began.
	Synced bool
	// Problem reports input that could not be used: a manifest that does not
	// parse, say. It names the object or file and the field.
	Problem error
}
