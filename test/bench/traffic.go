package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/test/bed"
)

// trafficRounds is how often each way is measured. The ways take turns, so that
// what else the machine does falls on all.
const trafficRounds = 3

// benchTraffic sends packets between pods of one node and of two, whose policies
// stand. There are two references: the same switches and interfaces without a
// pipeline, and veth pairs that the kernel routes between.
func benchTraffic(ctx context.Context, r *report) (err error) {
	l := &lab{ctx: ctx}
	defer func() { err = errors.Join(err, l.close()) }()
	first, beside, across, err := l.routed()
	if err != nil {
		return fmt.Errorf("kernel routes: %w", err)
	}
	if err := serveEcho(beside, across); err != nil {
		return err
	}
	bin, remove, err := binaries(ctx)
	if err != nil {
		return err
	}
	defer remove()
	for _, mode := range []nodes.Mode{nodes.NoEncap, nodes.Encap} {
		err := withStand(ctx, bin, mode, [][]string{{"client", "beside"}, {"across"}}, func(s *stand) error {
			client, servers := &s.pods[0][0].Host, [2]*bed.Host{&s.pods[0][1].Host, &s.pods[1][0].Host}
			if mode == nodes.NoEncap {
				raw, err := s.rawBeside()
				if err != nil {
					return err
				}
				if err := s.compare(r, "one node", &way{from: client, to: servers[0]}, raw, &way{from: first, to: beside}); err != nil {
					return err
				}
			}
			raw, err := s.rawAcross()
			if err != nil {
				return err
			}
			return s.compare(r, "two nodes, "+string(mode), &way{from: client, to: servers[1]}, raw, &way{from: first, to: across})
		})
		if err != nil {
			return fmt.Errorf("mode %s: %w", mode, err)
		}
	}
	return nil
}

// way is how packets get from one host to another, and what has been measured of it.
type way struct {
	from, to *bed.Host
	rates    map[int][]float64 // bits a second, by the number of connections
	bytes    float64           // that came while counted
	trips    map[string]times  // by network
	// What ovs-vswitchd has taken for the bytes, and for the trips.
	bytesCPU, tripsCPU time.Duration
}

// streamCounts are the numbers of connections that throughput is measured with.
var streamCounts = []int{1, 4}

// compare measures ways in turn and prints the first beside the others.
func (s *stand) compare(r *report, where string, sluice, raw, kernel *way) error {
	ways := []*way{sluice, raw, kernel}
	for _, w := range ways {
		w.rates, w.trips = map[int][]float64{}, map[string]times{}
	}
	for range trafficRounds {
		for _, w := range ways {
			if err := s.measure(w); err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
		}
	}
	const pipeline, routes = "Open vSwitch without a pipeline", "kernel routes"
	both := func(what string, of func(*way) quantity) {
		r.against(where+": "+what, of(sluice), of(raw), pipeline)
		r.against(where+": "+what, of(sluice), of(kernel), routes)
	}
	for _, n := range streamCounts {
		both(fmt.Sprintf("TCP, connections: %d", n), func(w *way) quantity { return quantity{median(w.rates[n]) / 1e9, "Gbit/s"} })
	}
	for _, network := range []string{"tcp", "udp"} {
		for _, p := range []int{50, 99} {
			both(fmt.Sprintf("%d bytes by %s and back, p%d of %d", messageSize, network, p, len(sluice.trips[network])),
				func(w *way) quantity { return seconds(w.trips[network].percentile(p)) })
		}
	}
	if s.beds[0].OVS.Datapath() == sandbox.Netdev { // else the kernel's time, which is nobody's
		gigabyte := func(w *way) quantity { return quantity{w.bytesCPU.Seconds() / w.bytes * 1e9, "s"} }
		trip := func(w *way) quantity {
			return quantity{w.tripsCPU.Seconds() / float64(len(w.trips["tcp"])+len(w.trips["udp"])), "s"}
		}
		r.against(where+": ovs-vswitchd's processor time for 1 GB", gigabyte(sluice), gigabyte(raw), pipeline)
		r.against(where+": ovs-vswitchd's processor time for a message and back", trip(sluice), trip(raw), pipeline)
	}
	return nil
}

func (s *stand) measure(w *way) error {
	at := netip.AddrPortFrom(w.to.Addr(4), trafficPort)
	tripsCPU, err := s.vswitchdTime()
	if err != nil {
		return err
	}
	for _, network := range []string{"tcp", "udp"} {
		took, err := roundTrips(s.ctx, network, w.from, at)
		if err != nil {
			return err
		}
		w.trips[network] = append(w.trips[network], took...)
	}
	after, err := s.vswitchdTime()
	if err != nil {
		return err
	}
	w.tripsCPU += after - tripsCPU
	for _, n := range streamCounts {
		var before time.Duration
		rate, bytes, err := throughput(w.from, w.to, trafficPort+1, n,
			func() (err error) { before, err = s.vswitchdTime(); return err },
			func() (err error) { after, err = s.vswitchdTime(); return err })
		if err != nil {
			return err
		}
		w.rates[n], w.bytes, w.bytesCPU = append(w.rates[n], rate), w.bytes+bytes, w.bytesCPU+after-before
	}
	return nil
}

// vswitchdTime is the processor time that the nodes' ovs-vswitchd have taken.
func (s *stand) vswitchdTime() (all time.Duration, err error) {
	for _, b := range s.beds {
		pid, err := pidOf(b.OVS)
		if err != nil {
			return 0, err
		}
		cpu, _, err := usage(pid)
		if err != nil {
			return 0, err
		}
		all += cpu
	}
	return all, nil
}

// shape is that of the pods' interfaces.
func (s *stand) shape() (shape, error) {
	status, err := s.beds[0].Client().Status(s.ctx)
	if err != nil {
		return shape{}, err
	}
	return shape{mtu: status.Network.MTU, inSoftware: s.beds[0].OVS.Datapath() == sandbox.Netdev}, nil
}

// rawBeside makes two hosts on a bridge of the first node.
func (s *stand) rawBeside() (*way, error) {
	like, err := s.shape()
	if err != nil {
		return nil, err
	}
	node := s.beds[0]
	from, err := s.pod(node.Node.Netns, "raw0", "10.97.9.2", "10.97.9.3", like)
	if err != nil {
		return nil, err
	}
	to, err := s.pod(node.Node.Netns, "raw1", "10.97.9.3", "10.97.9.2", like)
	if err != nil {
		return nil, err
	}
	if err := serveEcho(to); err != nil {
		return nil, err
	}
	return &way{from: from, to: to}, s.patched(node.OVS, node.Node.Netns, "br-beside", []string{"raw0"}, []string{"raw1"})
}

// rawAcross makes a host on a bridge of each node. They are joined by a tunnel of
// these bridges, or by the routes of the nodes.
func (s *stand) rawAcross() (*way, error) {
	like, err := s.shape()
	if err != nil {
		return nil, err
	}
	hosts := [2]*bed.Host{}
	for i, b := range s.beds {
		n, name := b.Node.Netns, fmt.Sprintf("rawnode%d", i)
		addr, gateway := fmt.Sprintf("10.97.%d.2", i), fmt.Sprintf("10.97.%d.2", 1-i)
		out := []string{"rawout", "type=geneve", "options:remote_ip=" + nodeAddrOf(1-i), "options:key=97"}
		if s.mode == nodes.NoEncap {
			gateway = fmt.Sprintf("10.97.%d.1", i)
			out = []string{"rawout", "type=internal"}
		}
		if hosts[i], err = s.pod(n, name, addr, gateway, like); err != nil {
			return nil, err
		}
		if err := s.patched(b.OVS, n, "br-across", []string{name}, out); err != nil {
			return nil, err
		}
		if s.mode == nodes.NoEncap {
			if err := s.ip(n, []string{"addr", "add", gateway + "/24", "dev", "rawout"}, []string{"link", "set", "rawout", "up"},
				[]string{"route", "add", fmt.Sprintf("10.97.%d.0/24", 1-i), "via", nodeAddrOf(1 - i)}); err != nil {
				return nil, err
			}
		}
	}
	return &way{from: hosts[0], to: hosts[1]}, serveEcho(hosts[1])
}

// serveEcho has hosts send messages back.
func serveEcho(hosts ...*bed.Host) error {
	for _, h := range hosts {
		for _, network := range []string{"tcp", "udp"} {
			if _, err := h.Serve(network, trafficPort); err != nil {
				return err
			}
		}
	}
	return nil
}

// median returns the middle of some numbers.
func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
