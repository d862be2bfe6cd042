// Package entry works out what the node's kernel has to lead to the bridge, from
// the balancers that the bridge has.
//
// Most addresses of Services are theirs alone: what is sent there is for the
// bridge, whatever the port. But an external address may be that of a node, or of a
// pod, and a Service then has no more than its ports there: see Local.
package entry

import (
	"net/netip"
	"reflect"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/route"
)

// Table is the balancers, as far as the kernel is concerned. It is not safe for
// concurrent use.
type Table struct {
	balancers map[flows.BalancerKey]balancer
}

// balancer is what the kernel has to know of one.
type balancer struct {
	family    route.Family
	protocol  uint8
	frontends []flows.Frontend
	served    bool // somebody serves it, on whatever node
}

// New returns an empty table.
func New() *Table { return &Table{balancers: map[flows.BalancerKey]balancer{}} }

// Update enters changes and reports whether what the kernel has to know may have
// changed. An endpoint that comes beside others is of no interest to it.
func (t *Table) Update(changes []flows.BalancerChange) (changed bool) {
	for _, c := range changes {
		old, there := t.balancers[c.Key]
		now, ok := reduce(c.Balancer)
		if there == ok && reflect.DeepEqual(old, now) {
			continue
		}
		changed = true
		if ok {
			t.balancers[c.Key] = now
		} else {
			delete(t.balancers, c.Key)
		}
	}
	return changed
}

// reduce returns what the kernel has to know of a balancer; nothing if there is
// none, or nothing that says of which family it is.
func reduce(b *flows.Balancer) (out balancer, ok bool) {
	if b == nil {
		return out, false
	}
	var endpoints []netip.AddrPort
	for _, es := range b.Endpoints {
		endpoints = append(endpoints, es...)
	}
	i := slices.IndexFunc(b.Frontends, func(f flows.Frontend) bool { return f.Addr.IsValid() })
	switch {
	case i >= 0:
		out.family = route.FamilyOf(b.Frontends[i].Addr)
	case len(endpoints) > 0:
		out.family = route.FamilyOf(endpoints[0].Addr())
	default:
		return out, false
	}
	out.protocol, out.served = b.Protocol, len(endpoints) > 0
	out.frontends = slices.Clone(b.Frontends)
	return out, true
}
