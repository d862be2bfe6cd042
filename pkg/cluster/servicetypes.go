package cluster

import (
	"net/netip"
	"time"
)

// Service is a Service, trimmed to what balancing needs. Headless Services and
// those of type ExternalName have no ClusterIPs and are here without Ports.
// Services that have the label service.kubernetes.io/service-proxy-name are
// somebody else's, and not here at all.
//
// spec.publishNotReadyAddresses and spec.trafficDistribution take effect in
// whoever writes the EndpointSlices: by the ready condition, and by hints.
type Service struct {
	Key
	// Created is the time of metadata.creationTimestamp, in seconds since 1970; zero
	// if nothing says it.
	Created int64
	// ClusterIPs are spec.clusterIPs, at most one of each family.
	ClusterIPs []netip.Addr
	// ExternalIPs are spec.externalIPs, LoadBalancerIPs the addresses of
	// status.loadBalancer.ingress whose ipMode is VIP or unset.
	ExternalIPs, LoadBalancerIPs []netip.Addr
	// SourceRanges are spec.loadBalancerSourceRanges: who may connect to
	// LoadBalancerIPs. Empty means anybody.
	SourceRanges []netip.Prefix
	Ports        []ServicePort
	// InternalLocal and ExternalLocal are true if internalTrafficPolicy and
	// externalTrafficPolicy are Local.
	InternalLocal, ExternalLocal bool
	// HealthCheckPort is spec.healthCheckNodePort of a Service of type LoadBalancer
	// that is ExternalLocal, else zero.
	HealthCheckPort uint16
	// Affinity is sessionAffinityConfig.clientIP.timeoutSeconds where
	// sessionAffinity is ClientIP, else zero.
	Affinity time.Duration
}

// ServicePort is a port of a Service.
type ServicePort struct {
	Name     string
	Protocol string // "TCP", "UDP" or "SCTP"
	Port     uint16
	// NodePort is zero if there is none.
	NodePort uint16
}

// EndpointSlice is an EndpointSlice of one address family, trimmed.
type EndpointSlice struct {
	Key
	// Service is the name of the Service it belongs to, by the label
	// kubernetes.io/service-name.
	Service   string
	Ports     []EndpointPort
	Endpoints []Endpoint
}

// EndpointPort is the port at which endpoints serve a Service's port of the same
// name and protocol.
type EndpointPort struct {
	Name     string
	Protocol string
	Port     uint16
}

// Endpoint is one endpoint of a slice.
type Endpoint struct {
	// Addr is the first of its addresses: no meaning is defined for others, and the
	// EndpointSlice controller writes none.
	Addr netip.Addr
	// Node is the node the endpoint is on, empty if nothing says it.
	Node string
	// Ready, Serving and Terminating are the endpoint's conditions; unset ones are
	// read as the API says: ready, serving, not terminating.
	Ready, Serving, Terminating bool
	// ForZones and ForNodes are its topology hints.
	ForZones, ForNodes []string
}

// ServiceCIDR is a ServiceCIDR: ranges that the addresses of Services are taken
// from. API servers before Kubernetes 1.33 have none.
type ServiceCIDR struct {
	Name string
	// CIDRs are spec.cidrs, at most one of each family.
	CIDRs []netip.Prefix
}
