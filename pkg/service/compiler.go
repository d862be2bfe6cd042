package service

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Compiler turns what is known of Services into the balancers of a node. It's
// owned by one goroutine.
type Compiler struct {
	at place
	// nodeAddrs are the addresses of this node's Node object.
	nodeAddrs []netip.Addr

	services map[cluster.Key]*state
	// owners are the Services of slices.
	owners map[cluster.Key]*state
	claims claims
	byKey  map[flows.BalancerKey]*balancer
	checks map[cluster.Key]HealthCheck

	dirty map[*state]struct{}
}

// state is a Service, or what is known of one before it comes.
type state struct {
	key cluster.Key
	// spec is nil while nothing but slices is known.
	spec *cluster.Service
	// unread is true if the balancers are not yet those of spec.
	unread    bool
	slices    []*cluster.EndpointSlice // by name
	balancers []*balancer              // in the order of ports, then of addresses
	invalid   []Problem                // of spec
	told      []Problem                // that stand
}

// New returns a compiler for the node of that name, which knows nothing yet.
func New(node string) *Compiler {
	return &Compiler{
		at:       place{node: node},
		services: map[cluster.Key]*state{},
		owners:   map[cluster.Key]*state{},
		claims:   claims{},
		byKey:    map[flows.BalancerKey]*balancer{},
		checks:   map[cluster.Key]HealthCheck{},
		dirty:    map[*state]struct{}{},
	}
}

// Update takes note of changes of the cluster. The compiler keeps the objects of
// the events, which must not change any more. All but Services, EndpointSlices
// and this node's Node is not its concern.
func (c *Compiler) Update(events ...cluster.Event) {
	for _, e := range events {
		switch {
		case e.Service != nil:
			c.setService(e.Service, e.Deleted)
		case e.Slice != nil:
			c.setSlice(e.Slice, e.Deleted)
		case e.Node != nil && e.Node.Name == c.at.node && !e.Deleted:
			c.setNode(e.Node)
		}
	}
}

// setNode takes note of this node. A change of its zone concerns every Service.
func (c *Compiler) setNode(n *cluster.Node) {
	c.nodeAddrs = n.Addrs
	if c.at.zone == n.Zone {
		return
	}
	c.at.zone = n.Zone
	for _, s := range c.services {
		c.touch(s)
	}
}

func (c *Compiler) setService(spec *cluster.Service, deleted bool) {
	s := c.state(spec.Key)
	if s.spec = spec; deleted {
		s.spec = nil
	}
	s.unread = true
	c.touch(s)
}

// setSlice takes note of a slice, or of its end. It may go from one Service to
// another.
func (c *Compiler) setSlice(slice *cluster.EndpointSlice, deleted bool) {
	if owner := c.owners[slice.Key]; owner != nil {
		if at, ok := owner.find(slice.Name); ok {
			owner.slices = slices.Delete(owner.slices, at, at+1)
		}
		delete(c.owners, slice.Key)
		c.touch(owner)
	}
	if deleted || slice.Service == "" {
		return
	}
	s := c.state(cluster.Key{Namespace: slice.Namespace, Name: slice.Service})
	at, _ := s.find(slice.Name)
	s.slices = slices.Insert(s.slices, at, slice)
	c.owners[slice.Key] = s
	c.touch(s)
}

// state returns what is known of a Service.
func (c *Compiler) state(key cluster.Key) *state {
	s := c.services[key]
	if s == nil {
		s = &state{key: key}
		c.services[key] = s
	}
	return s
}

// find returns where among the slices one of that name is or would be.
func (s *state) find(name string) (int, bool) {
	return slices.BinarySearchFunc(s.slices, name, func(have *cluster.EndpointSlice, name string) int {
		return strings.Compare(have.Name, name)
	})
}

func (c *Compiler) touch(s *state) { c.dirty[s] = struct{}{} }
