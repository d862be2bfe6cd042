package cluster

import (
	"net/netip"
	"time"
)

// Service is a Service, trimmed to what balancing needs. Headless Services and
// those of type ExternalName have no ClusterIPs and are here without Ports.
type Service struct {
	Key
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
	// HealthCheckPort is spec.healthCheckNodePort, zero if there is none.
	HealthCheckPort uint16
	// Affinity is sessionAffinityConfig.clientIP.timeoutSeconds where
	// sessionAffinity is ClientIP, else zero.
	Affinity time.Duration
	// PublishNotReady is spec.publishNotReadyAddresses.
	PublishNotReady bool
	// TrafficDistribution is spec.trafficDistribution: empty, "PreferClose",
	// "PreferSameZone" or "PreferSameNode".
	TrafficDistribution string
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
	Addrs []netip.Addr
	// Node is the node the endpoint is on, empty if nothing says it.
	Node string
	// Ready, Serving and Terminating are the endpoint's conditions; unset ones are
	// read as the API says: ready, as ready says, not terminating.
	Ready, Serving, Terminating bool
	// ForZones and ForNodes are its topology hints.
	ForZones, ForNodes []string
}
