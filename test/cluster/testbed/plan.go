package testbed

import (
	"fmt"
	"net/netip"
)

const (
	// maxSubnets and maxNodes (of one subnet) are what the address plan has room for.
	maxSubnets = 16
	maxNodes   = 200
	// firstNode is the host number of the first node of a subnet; 1 is the router.
	firstNode = 11
)

// Plan says which names and addresses a cluster has. It follows from the options.
type Plan struct {
	Subnets []Subnet
	Nodes   []Node
	// Pods and Services are the cluster's ranges, the primary family first.
	Pods, Services []netip.Prefix
	// PodBits are the lengths of the nodes' ranges, in the order of Pods.
	PodBits []int
	// DNS are the addresses of the cluster's DNS.
	DNS []netip.Addr
}

// Subnet is a link that nodes are on.
type Subnet struct {
	Name string
	// Router are the addresses of control in it, with the subnets' lengths.
	Router []netip.Prefix
}

// Node is a node.
type Node struct {
	Name   string
	Subnet int // index in Plan.Subnets
	// Addrs are its addresses, with the subnets' lengths.
	Addrs []netip.Prefix
}

// addresses are the ranges of one family.
type addresses struct {
	subnets        netip.Prefix // room for all
	subnetBits     int
	pods, services string
	podBits        int
}

var (
	plan4 = addresses{netip.MustParsePrefix("172.31.0.0/16"), 24, "10.244.0.0/16", "10.96.0.0/16", 24}
	plan6 = addresses{netip.MustParsePrefix("fd00:172:31::/48"), 64, "fd00:10:244::/56", "fd00:10:96::/112", 64}
)

// dnsHost is the host number of the cluster's DNS among the Services' addresses.
const dnsHost = 10

// NewPlan makes the plan of options that are in order.
func NewPlan(o Options) Plan {
	var p Plan
	var families []addresses
	if o.Family != IPv6 {
		families = append(families, plan4)
	}
	if o.Family != IPv4 {
		families = append(families, plan6)
	}
	for _, f := range families {
		services := netip.MustParsePrefix(f.services)
		p.Pods = append(p.Pods, netip.MustParsePrefix(f.pods))
		p.PodBits = append(p.PodBits, f.podBits)
		p.Services = append(p.Services, services)
		p.DNS = append(p.DNS, host(services, 0, services.Bits(), dnsHost).Addr())
	}
	for i := range o.Subnets {
		s := Subnet{Name: fmt.Sprintf("br%d", i)}
		for _, f := range families {
			s.Router = append(s.Router, host(f.subnets, i, f.subnetBits, 1))
		}
		p.Subnets = append(p.Subnets, s)
	}
	for i := range o.Nodes {
		n := Node{Name: fmt.Sprintf("node%d", i+1), Subnet: i % o.Subnets}
		for _, f := range families {
			n.Addrs = append(n.Addrs, host(f.subnets, n.Subnet, f.subnetBits, firstNode+i/o.Subnets))
		}
		p.Nodes = append(p.Nodes, n)
	}
	return p
}

// host returns the address with a host number in the i-th subnet of a length.
// The length is a multiple of 8, and subnets differ in the last byte before it.
func host(of netip.Prefix, i, bits, number int) netip.Prefix {
	raw := of.Masked().Addr().AsSlice()
	raw[bits/8-1] += byte(i)
	raw[len(raw)-1] += byte(number)
	addr, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(addr, bits)
}

// addrs are the addresses of prefixes.
func addrs(prefixes []netip.Prefix) []netip.Addr {
	list := make([]netip.Addr, len(prefixes))
	for i, p := range prefixes {
		list[i] = p.Addr()
	}
	return list
}
