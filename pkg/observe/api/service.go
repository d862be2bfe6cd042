package api

import "strconv"

// ServicePrefix begins the To of a TraceRequest that names a Service:
// "svc:shop/web:http". The port is its number or name; it may be left out, or
// stand in Port, where the Service has one port or one of that number.
const ServicePrefix = "svc:"

// Balanced is what became of a connection to a Service.
type Balanced struct {
	// Service is "namespace/name", PortName the name of its port if it has one, and
	// Port its number.
	Service  string `json:"service"`
	PortName string `json:"portName,omitempty"`
	Port     uint16 `json:"port"`
	// Kind is what the client connects to: "ClusterIP", "NodePort",
	// "LoadBalancerIP" or "ExternalIP"; Frontend is its address and port.
	Kind     string `json:"kind"`
	Frontend string `json:"frontend"`
	// Endpoint is the address and port of who was chosen, empty if there is none to
	// go to; Pod is the pod that has it, if it is known.
	Endpoint string `json:"endpoint,omitempty"`
	Pod      string `json:"pod,omitempty"`
	// Choices is how many endpoints connections from there may go to: the next one
	// may get another of them.
	Choices int `json:"choices"`
	// Affinity is for how long a client keeps its endpoint ("3h0m0s"), empty if it
	// does not; Remembered says that the endpoint is the one that it had before.
	Affinity   string `json:"affinity,omitempty"`
	Remembered bool   `json:"remembered,omitempty"`
}

// Name returns the Service with its port: "shop/web:http", "shop/web:80".
func (b *Balanced) Name() string {
	if b.PortName != "" {
		return b.Service + ":" + b.PortName
	}
	return b.Service + ":" + strconv.Itoa(int(b.Port))
}
