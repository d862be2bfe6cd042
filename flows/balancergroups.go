package flows

import (
	"iter"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// How a group chooses, by how many endpoints there are. The datapath's own hash
// needs no upcall for each connection, but Open vSwitch maps at most 256 values of
// it to buckets: with more than 64 of these some would get far more than others,
// and above 256 it takes another hash, in which the ports of UDP do not count.
// A hash of the switch does better by each bucket's own score: each is as likely
// as the next, and one that comes takes its share from all others alike.
const (
	// maxHashed is the most endpoints that the datapath's hash is spread over.
	maxHashed = 64
	// slotsEach is how many values of it each endpoint gets at the least.
	slotsEach = 4
	// minSlots is how many values there are in any case.
	minSlots = 16
	// maxBuckets is the most buckets that a group has: its description must fit into
	// a message (OpenFlow 1.5.1, 7.3.5.10: 16 bits of length).
	maxBuckets = 400
)

// bucketWeight is the weight of an endpoint.
const bucketWeight = 100

// fillerID is the bucket that is there for the number of slots alone.
const fillerID = 0xffffff00

// groupsOf yields the names of a balancer's groups. Its endpoints have their
// numbers.
func (p *Pipeline) groupsOf(k BalancerKey, b *Balancer) iter.Seq[groupKey] {
	return func(yield func(groupKey) bool) {
		if b == nil {
			return
		}
		for s, used := range b.scopes() {
			if !used || len(b.Endpoints[s]) == 0 {
				continue
			}
			parts := 0
			if len(b.Endpoints[s]) > maxBuckets {
				parts = len(divide(p.endpointIDs(b, Scope(s))))
			}
			for part := range parts + 1 {
				if !yield(groupKey{k, Scope(s), part}) {
					return
				}
			}
		}
	}
}

// endpointIDs returns the numbers of a scope's endpoints, in order.
func (p *Pipeline) endpointIDs(b *Balancer, s Scope) []uint32 {
	ids := make([]uint32, 0, len(b.Endpoints[s]))
	for _, e := range b.Endpoints[s] {
		ids = append(ids, p.balancers.endpoints.id(endpoint{b.Protocol, e}))
	}
	slices.Sort(ids)
	return ids
}

// divide divides endpoints among as few groups as hold them, by bits of a product of
// their numbers: one that comes or goes changes no group but its own. The groups have
// to be of about the same size: the switch's score does not go by shares. A Service
// has numbers in a row, or each n-th one where its endpoints came one by one and its
// other ports took those between, or both. Multiples of the golden ratio lie evenly
// for all of these (Knuth, The Art of Computer Programming, 6.4).
func divide(ids []uint32) [][]uint32 {
	const golden = 0x9e3779b1 // of 2^32
	for n := 1; ; n++ {
		parts := make([][]uint32, 1<<n)
		most := 0
		for _, id := range ids {
			part := id * golden >> (32 - n)
			parts[part] = append(parts[part], id)
			most = max(most, len(parts[part]))
		}
		if most <= maxBuckets {
			return slices.DeleteFunc(parts, func(part []uint32) bool { return len(part) == 0 })
		}
	}
}

// balancerGroups are the groups that a balancer's flows lead to, and those that
// these lead to before them.
func (p *Pipeline) balancerGroups(k BalancerKey, b *Balancer, fs []*Flow) []*Group {
	used := map[uint32]bool{}
	for _, f := range fs {
		used[groupOf(f)] = true
	}
	var out []*Group
	for s, eps := range b.Endpoints {
		if id := p.balancers.groups.id(groupKey{k, Scope(s), 0}); id == 0 || !used[id] {
			continue
		}
		top := &Group{ID: p.balancers.groups.id(groupKey{k, Scope(s), 0}), Selection: b.selection(len(eps))}
		ids := p.endpointIDs(b, Scope(s))
		if len(ids) <= maxBuckets {
			top.Buckets = p.buckets(b, ids)
			if top.Selection == SelectByDatapath {
				top.Buckets = fill(top.Buckets)
			}
			out = append(out, top)
			continue
		}
		top.Upper = true
		for i, part := range divide(ids) {
			id := p.balancers.groups.id(groupKey{k, Scope(s), i + 1})
			out = append(out, &Group{ID: id, Selection: top.Selection, Buckets: p.buckets(b, part)})
			top.Buckets = append(top.Buckets, Bucket{ID: id, Weight: bucketWeight, Actions: []ovs.Action{flow.Text(groupText(id))}})
		}
		out = append(out, top)
	}
	return out
}

// selection is how a balancer chooses among so many endpoints.
func (b *Balancer) selection(endpoints int) Selection {
	switch {
	case b.Affinity > 0:
		// The same client gets the same endpoint also before the switch has learned.
		return SelectBySource
	case endpoints > maxHashed:
		return SelectByConnection
	}
	return SelectByDatapath
}

// fill adds a bucket that makes Open vSwitch map enough values of the datapath's
// hash: as many as the least weight goes into all, in a power of two. With ten
// equal weights that is 16, of which six endpoints get two and four get one. The
// bucket's own weight is about one value's, and it leads to the first endpoint.
func fill(buckets []Bucket) []Bucket {
	n := len(buckets)
	slots := max(minSlots, 1<<bits.Len(uint(slotsEach*n-1)))
	if n&(n-1) == 0 || slots == minSlots {
		return buckets // equal shares, or enough values as it is
	}
	weight := (n*bucketWeight + slots - 2) / (slots - 1)
	return append(buckets, Bucket{ID: fillerID, Weight: uint16(weight), Actions: buckets[0].Actions})
}

// buckets lead to endpoints by their numbers.
func (p *Pipeline) buckets(b *Balancer, ids []uint32) []Bucket {
	out := make([]Bucket, 0, len(ids)+1)
	for _, id := range ids {
		out = append(out, p.bucket(b, id, p.balancers.endpoints.byID[id].at))
	}
	return out
}

// bucket leads to an endpoint. A bucket can't learn, as it is no list of actions
// but a set (OpenFlow 1.5.1, 5.6): with affinity ServiceEndpoint does the rest.
func (p *Pipeline) bucket(b *Balancer, id uint32, e netip.AddrPort) Bucket {
	actions := []ovs.Action{flow.Set(regEndpoint, id)}
	to := TableServiceEndpoint
	if b.Affinity == 0 {
		actions, to = append(actions, setDestination(b.Protocol, e)...), TableEgressPeer
	}
	return Bucket{ID: id, Weight: bucketWeight, Actions: append(actions, ovs.Resubmit(0, int(to)))}
}
