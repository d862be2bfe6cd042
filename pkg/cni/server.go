// Package cni serves the CNI commands of a node's pods in the agent: it attaches
// a pod to the bridge, detaches it, and checks what it has attached.
//
// An attachment, one interface of a pod's sandbox, has four parts: the veth pair
// (package podlink), the port record in OVSDB, which is also the allocation of
// the pod's addresses, the isolation of the port by the Enforcer, and the CNI
// result. ADD makes them in this order, and takes back what it has made if one
// fails; DEL removes them in the reverse order, each whether or not the others
// are there. The record is the only state: the server remembers nothing.
//
// Commands for the same attachment run one after the other; nothing else waits.
package cni

import (
	"context"
	"time"

	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/ipam"
)

// DefaultNetwork is the network's name where none is configured.
const DefaultNetwork = "sluice"

// Ports are the records of the pods' ports; *vsdb.DB is such.
type Ports interface {
	AddPort(context.Context, vsdb.PortSpec) (vsdb.Port, error)
	DeletePort(ctx context.Context, name string) error
	Ports(context.Context) ([]vsdb.Port, error)
	// Connected reports whether the records can be reached now.
	Connected() bool
}

// Enforcer puts policies to work on the bridge.
type Enforcer interface {
	// SetPort returns when the port is isolated: nothing passes from then on but
	// what the policies that are known to select its pod allow. It may be called
	// again for the same port.
	SetPort(context.Context, vsdb.Port) error
	// DeletePort returns when nothing on the bridge refers to the port any more, or
	// nothing will when a SetPort returns. It is no error if nothing does.
	DeletePort(ctx context.Context, name string) error
	// CheckPort returns an error that says what of the port's isolation is not on
	// the bridge as it should be.
	CheckPort(ctx context.Context, name string) error
	// Ready returns an error that says why ports can't be set now.
	Ready(context.Context) error
}

// Options are what a Server works with. All fields but Network are required.
type Options struct {
	Ports    Ports
	Enforcer Enforcer
	// Pool gives the addresses; it is kept in line with the records by the server.
	Pool *ipam.Pool
	// Bridge is the name of the bridge that pods are attached to.
	Bridge string
	// Network is the name of the one network that is served, "name" in the CNI
	// configuration; DefaultNetwork if empty. An ADD to another is refused, since a
	// GC of one network must not remove the attachments of another.
	Network string
	// MTU returns the MTU of the pods' interfaces in bytes, unless the CNI
	// configuration has one. It is asked for each pod.
	MTU func() int
	// ChecksumInSoftware is for the userspace datapath: see podlink.Link.
	ChecksumInSoftware bool
	// OnCommand hears of each command that has ended: how long it took, and the code
	// of its error, zero if it succeeded. It may be nil.
	OnCommand func(command wire.Command, took time.Duration, code uint)
}

// Server serves CNI commands. It is safe for concurrent use.
type Server struct {
	cfg         Options
	attachments keyLock // by port name
}

// NewServer returns a Server that keeps no state of its own.
func NewServer(o Options) *Server {
	if o.Network == "" {
		o.Network = DefaultNetwork
	}
	return &Server{cfg: o}
}
