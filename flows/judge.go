package flows

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/flows/internal/flow"
)

// Connection is a connection to be judged: its first packet's addresses,
// protocol and destination port (zero for protocols without).
type Connection struct {
	Src, Dst netip.Addr
	Protocol uint8
	DstPort  uint16
	// ByGateway is true if it is known to have been begun through the gateway, where
	// no source is a pod of this node: a service proxy may send a pod's packets back
	// that way.
	ByGateway bool
}

// Verdict is what the pipeline says of a connection.
type Verdict struct {
	Allowed bool
	// Rules are the rules that allow it in each direction, indexed by Direction.
	// None is needed where the direction is not isolated.
	Rules [2][]RuleKey
	// Isolated tells which directions need a rule.
	Isolated [2]bool
	// Pending tells which directions are shut until the pod's policies are known.
	Pending [2]bool
}

// Judge says what the flows would do with the first packet of a connection,
// without a switch. It judges pods of this node: a source that is none is taken
// to come through the gateway, a destination that is none to lie behind it.
func (p *Pipeline) Judge(c Connection) Verdict {
	src, dst := p.byAddr[c.Src], p.byAddr[c.Dst]
	v := Verdict{Allowed: true}
	if c.Src == c.Dst && src != nil && !c.ByGateway {
		return v
	}
	if src != nil && !c.ByGateway {
		p.judgeSide(&v, Egress, src, c.Dst, c)
	}
	if dst != nil && !(src == nil && p.node != nil && slices.Contains(p.node.Addrs, c.Src)) {
		p.judgeSide(&v, Ingress, dst, c.Src, c)
	}
	return v
}

// Stale reports whether an end of a connection is an address of this node's pod
// ranges that no port has: its pod is gone, and the next one to get the address
// has no part in it.
func (p *Pipeline) Stale(c Connection) bool {
	for _, a := range [2]netip.Addr{c.Src, c.Dst} {
		if p.node == nil || p.byAddr[a] != nil || slices.Contains(p.node.Addrs, a) || slices.Contains(p.node.Gateways, a) {
			continue
		}
		if slices.ContainsFunc(p.node.PodCIDRs, func(cidr netip.Prefix) bool { return cidr.Contains(a) }) {
			return true
		}
	}
	return false
}

func (p *Pipeline) judgeSide(v *Verdict, d Direction, subject *port, other netip.Addr, c Connection) {
	v.Isolated[d], v.Pending[d] = subject.Subject[d].Isolated, subject.Pending
	if subject.Pending {
		v.Allowed = false
		return
	}
	s := p.sides[d]
	for key := range s.rules.Matching(subject.class[d], s.addrs[other], s.regions.lookup(other), c.Protocol, c.DstPort) {
		v.Rules[d] = append(v.Rules[d], RuleKey(key))
	}
	if subject.Subject[d].Isolated && len(v.Rules[d]) == 0 {
		v.Allowed = false
	}
}

// RuleByID returns the key of the rule whose conjunction id a connection's
// ct_label or a trace names.
func (p *Pipeline) RuleByID(d Direction, id uint32) (RuleKey, bool) {
	k, ok := p.sides[d].rules.RuleKey(id)
	return RuleKey(k), ok
}

// RuleID returns the conjunction id of a rule.
func (p *Pipeline) RuleID(d Direction, k RuleKey) (uint32, bool) {
	return p.sides[d].rules.RuleID(string(k))
}

// PortByAddr returns the port of this node that has an address.
func (p *Pipeline) PortByAddr(a netip.Addr) (Port, bool) {
	if pt := p.byAddr[a]; pt != nil {
		return pt.Port, true
	}
	return Port{}, false
}

// RemoteByAddr returns the other node in whose pod ranges an address lies, if the
// tunnel leads there.
func (p *Pipeline) RemoteByAddr(a netip.Addr) (name string, r Remote, ok bool) {
	if p.node == nil || p.node.TunnelOFPort == 0 {
		return "", Remote{}, false
	}
	for name, r := range p.remotes {
		if slices.ContainsFunc(r.PodCIDRs, func(cidr netip.Prefix) bool { return cidr.Contains(a) }) {
			return name, r.Remote, true
		}
	}
	return "", Remote{}, false
}

// Port returns a port by its name.
func (p *Pipeline) Port(name string) (Port, bool) {
	if pt := p.ports[name]; pt != nil {
		return pt.Port, true
	}
	return Port{}, false
}

// Node returns what the pipeline knows of its node, nil if nothing.
func (p *Pipeline) Node() *Node { return p.node }

// Identity is a class of addresses that no rule of a direction tells apart.
type Identity struct {
	Direction Direction
	ID        uint32
	Terms     []Term
	Addrs     []netip.Addr
}

// Identities lists the peer identities of a direction, by number.
func (p *Pipeline) Identities(d Direction) []Identity {
	s := p.sides[d]
	byID := map[uint32]*Identity{}
	for id, k := range s.peers.byID {
		byID[id] = &Identity{Direction: d, ID: id, Terms: k.terms}
	}
	for _, a := range flow.SortedKeys(s.addrs, netip.Addr.Less) {
		id := byID[s.addrs[a]]
		id.Addrs = append(id.Addrs, a)
	}
	out := make([]Identity, 0, len(byID))
	for _, id := range flow.SortedKeys(byID, cmp.Less[uint32]) {
		out = append(out, *byID[id])
	}
	return out
}

// PortFlows returns the flows of a port, in a fixed order.
func (p *Pipeline) PortFlows(name string) ([]*Flow, bool) {
	pt := p.ports[name]
	if pt == nil {
		return nil, false
	}
	return slices.Clone(pt.flows), true
}
