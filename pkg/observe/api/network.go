package api

// Network is how the node reaches the others.
type Network struct {
	// Mode is "encap", "noEncap" or "hybrid", Tunnel the type of the tunnel port,
	// empty if there is none.
	Mode   string `json:"mode"`
	Tunnel string `json:"tunnel,omitempty"`
	// Uplink is the interface by which others are reached, empty if none is found,
	// UplinkMTU its MTU and MTU that of pods, in bytes.
	Uplink    string `json:"uplink,omitempty"`
	UplinkMTU int    `json:"uplinkMTU,omitempty"`
	MTU       int    `json:"mtu"`
	// Problems are faults of nodes for which some pods are not reached as they
	// should be.
	Problems []string `json:"problems,omitempty"`
}

// Node is a range of pods of another node, and the way to it.
type Node struct {
	Name    string `json:"name"`
	PodCIDR string `json:"podCIDR"`
	// Way is "encap" or "noEncap", Via the node's address that packets are sent to,
	// empty if the underlay's routers have to know.
	Way string `json:"way"`
	Via string `json:"via,omitempty"`
}
