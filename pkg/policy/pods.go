package policy

import (
	"bytes"
	"net"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// LocalPort is a port of this node's bridge that was attached for a pod.
type LocalPort struct {
	// Name, OFPort, MAC and Addrs are those of flows.Port.
	Name   string
	OFPort uint32
	MAC    net.HardwareAddr
	Addrs  []netip.Addr
	// Pod is the pod the port was attached for, and UID the pod's uid as the CNI
	// call gave it; empty if it gave none.
	Pod cluster.Key
	UID string
}

// port is a LocalPort with what is known of its pod.
type port struct {
	LocalPort
	// bound is true if the cluster knows the pod the port was attached for.
	bound bool
}

// claim is the addresses a pod is reached at.
type claim struct {
	addrs []netip.Addr // sorted
	// local is true if they are those of a port of this node.
	local bool
}

// SetPort adds a port or changes it. The slices it refers to must not change any
// more.
func (c *Compiler) SetPort(p LocalPort) {
	p.Addrs = plain(p.Addrs)
	if old := c.ports[p.Name]; old != nil {
		if samePort(&old.LocalPort, &p) {
			return
		}
		if old.Pod != p.Pod {
			c.DeletePort(p.Name)
		}
	}
	set := &port{LocalPort: p}
	c.ports[p.Name] = set
	if c.attached[p.Pod] == nil {
		c.attached[p.Pod] = map[string]*port{}
	}
	c.attached[p.Pod][p.Name] = set
	c.dirtyPorts[p.Name] = struct{}{}
	c.refresh(p.Pod)
}

// DeletePort removes a port, if there is one of that name.
func (c *Compiler) DeletePort(name string) {
	p := c.ports[name]
	if p == nil {
		return
	}
	delete(c.ports, name)
	delete(c.attached[p.Pod], name)
	if len(c.attached[p.Pod]) == 0 {
		delete(c.attached, p.Pod)
	}
	c.dirtyPorts[name] = struct{}{}
	c.refresh(p.Pod)
}

// refresh brings up to date what follows from a pod and its ports.
func (c *Compiler) refresh(key cluster.Key) {
	pod := c.pods[key]
	if pod != nil && (pod.HostNetwork || pod.Finished) {
		pod = nil // neither subject nor peer
	}
	bound := false
	var addrs []netip.Addr
	for name, p := range c.attached[key] {
		is := c.synced && pod != nil && c.owns(pod, p)
		if p.bound != is {
			p.bound = is
			c.dirtyPorts[name] = struct{}{}
		}
		if is {
			bound = true
			// A pod that has no address yet, as far as the cluster knows, is not a
			// peer: here no sooner than on any other node.
			if len(pod.IPs) > 0 || c.portsTell {
				addrs = append(addrs, p.Addrs...)
			}
		}
	}
	if bound {
		c.subjects.put(key, pod.Labels, pod.Ports)
	} else {
		c.subjects.remove(key)
	}
	local := len(addrs) > 0
	if pod != nil && !local {
		addrs = plain(pod.IPs)
	}
	c.claim(key, claim{addrs: sortedAddrs(addrs), local: local})
	if len(addrs) > 0 {
		c.peers.put(key, pod.Labels, pod.Ports)
	} else {
		c.peers.remove(key)
	}
}

// owns reports whether a port with the pod's name was attached for this very
// pod, and not for one of the same name before or after it.
func (c *Compiler) owns(pod *cluster.Pod, p *port) bool {
	if pod.UID != "" && p.UID != "" {
		return pod.UID == p.UID
	}
	return pod.Node == "" || c.node == "" || pod.Node == c.node
}

// claim replaces the addresses of a pod.
func (c *Compiler) claim(pod cluster.Key, to claim) {
	old := c.claims[pod]
	if old.local == to.local && slices.Equal(old.addrs, to.addrs) {
		return
	}
	for _, a := range old.addrs {
		c.dirtyAddrs[a] = struct{}{}
		left := slices.DeleteFunc(c.claimants[a], func(k cluster.Key) bool { return k == pod })
		if c.claimants[a] = left; len(left) == 0 {
			delete(c.claimants, a)
		}
	}
	for _, a := range to.addrs {
		c.dirtyAddrs[a] = struct{}{}
		c.claimants[a] = append(c.claimants[a], pod)
	}
	if len(to.addrs) == 0 {
		delete(c.claims, pod)
	} else {
		c.claims[pod] = to
	}
}

// owners returns the pods an address may belong to: those behind ports of this
// node if there are any, else all that claim it.
func (c *Compiler) owners(addr netip.Addr) []cluster.Key {
	all := c.claimants[addr]
	if len(all) < 2 {
		return all
	}
	var local []cluster.Key
	for _, pod := range all {
		if c.claims[pod].local {
			local = append(local, pod)
		}
	}
	if len(local) > 0 {
		return local
	}
	return all
}

// peer returns the terms of an address, nil if there are none.
func (c *Compiler) peer(addr netip.Addr) *flows.Peer {
	var out flows.Peer
	for i, pod := range c.owners(addr) {
		m := c.peers.members[pod]
		for _, dir := range flows.Directions {
			terms := m.terms(dir)
			if i > 0 {
				terms = intersect(out.Terms[dir], terms)
			}
			out.Terms[dir] = terms
		}
	}
	if len(out.Terms[flows.Egress]) == 0 && len(out.Terms[flows.Ingress]) == 0 {
		return nil
	}
	return &out
}

// intersect returns the terms that are in both of two sorted lists.
func intersect(a, b []flows.Term) []flows.Term {
	return slices.DeleteFunc(a, func(t flows.Term) bool {
		_, found := slices.BinarySearch(b, t)
		return !found
	})
}

// plain returns addresses without zones, IPv4 ones in their own form, and drops
// invalid ones.
func plain(in []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range in {
		if a.IsValid() {
			out = append(out, a.Unmap().WithZone(""))
		}
	}
	return out
}

// sortedAddrs returns addresses in order and without duplicates.
func sortedAddrs(in []netip.Addr) []netip.Addr {
	out := slices.Clone(in)
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

func samePort(a, b *LocalPort) bool {
	return a.Name == b.Name && a.OFPort == b.OFPort && bytes.Equal(a.MAC, b.MAC) &&
		slices.Equal(a.Addrs, b.Addrs) && a.Pod == b.Pod && a.UID == b.UID
}
