package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/test/bed"
)

const (
	connectEndpoints = 10
	connectWorkers   = 8 // that make connections, each one after the other
	connectRounds    = 5 // of each way, in turn
	connectTime      = 700 * time.Millisecond
	// connectMost bounds the connections of a round, so that no client uses a port again
	// that is still known (docs/datapaths.md): Linux goes through its 64,512 in steps of
	// nine on average.
	connectMost = 6000 / connectRounds
	connectPort = trafficPort + 1
)

// The Services that connections are made through.
var (
	plainService  = netip.MustParseAddrPort("10.96.0.1:80")
	affineService = netip.MustParseAddrPort("10.96.0.2:80")
)

// benchConnections makes connections through a Service and, as the reference, to its
// endpoints. All are pods of one node whose policies stand.
func benchConnections(ctx context.Context, r *report) error {
	bin, remove, err := binaries(ctx)
	if err != nil {
		return err
	}
	defer remove()
	names := []string{"client0", "client1", "client2", "client3"}
	for i := range connectEndpoints {
		names = append(names, fmt.Sprintf("e%d", i))
	}
	return withStand(ctx, bin, nodes.NoEncap, [][]string{names}, func(s *stand) error {
		clients, endpoints := s.pods[0][:4], s.pods[0][4:]
		for _, c := range clients {
			// More connections than ephemeral ports are made within TIME-WAIT.
			if err := c.Do(func() error {
				return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("1024 65535"), 0)
			}); err != nil {
				return err
			}
		}
		var direct []netip.AddrPort
		for _, e := range endpoints {
			l, err := echoOnce(&e.Host)
			if err != nil {
				return err
			}
			defer l.Close()
			direct = append(direct, netip.AddrPortFrom(e.Addr(4), connectPort))
		}
		targetsOf := func(client int, what string, at ...netip.AddrPort) *targets {
			return &targets{from: &clients[client].Host, what: what, at: at}
		}
		if err := s.serve(0, &clients[1].Host, direct); err != nil {
			return err
		}
		if err := s.compareConnects(r, targetsOf(0, "direct", direct...),
			targetsOf(1, "through a Service of 10 endpoints", plainService),
			targetsOf(2, "through one with session affinity", affineService)); err != nil {
			return err
		}
		if err := s.serve(standingServices, &clients[3].Host, direct); err != nil {
			return err
		}
		// Another client, with ports that are not known.
		return s.compareConnects(r, targetsOf(0, "direct", direct...),
			targetsOf(3, fmt.Sprintf("through a Service, %d more standing", standingServices), plainService))
	})
}

// serve writes the two Services and more, and returns when connections to both are
// answered and the bridge knows all.
func (s *stand) serve(more int, client *bed.Host, endpoints []netip.AddrPort) error {
	documents := append(serviceManifests("plain", plainService, "None", endpoints), serviceManifests("affine", affineService, "ClientIP", endpoints)...)
	for i := range more {
		at := netip.AddrPortFrom(address("10.97.0.0", i), 80)
		documents = append(documents, serviceManifests(fmt.Sprintf("s%d", i), at, "None", endpoints)...)
	}
	if err := s.write("services", documents); err != nil {
		return err
	}
	if err := until(s.ctx, "the Services are on the bridge", func() bool {
		fs, err := s.beds[0].Client().Flows(s.ctx)
		n := 0
		for _, f := range fs {
			if f.Table == "ServiceLB" {
				n++
			}
		}
		return err == nil && n > more+2
	}); err != nil {
		return err
	}
	for _, at := range []netip.AddrPort{plainService, affineService} {
		if err := until(s.ctx, "the Service "+at.String()+" answers", func() bool {
			_, err := (&targets{from: client, at: []netip.AddrPort{at}}).connect(1, 0)
			return err == nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// serviceManifests are a Service and its endpoints.
func serviceManifests(name string, at netip.AddrPort, affinity string, endpoints []netip.AddrPort) []string {
	var addrs []string
	for _, e := range endpoints {
		addrs = append(addrs, fmt.Sprintf("{addresses: [%s], nodeName: %s, conditions: {ready: true}}", e.Addr(), nodeNameOf(0)))
	}
	return []string{fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {namespace: %s, name: %s}
spec: {clusterIP: %[3]s, clusterIPs: [%[3]s], sessionAffinity: %s, ports: [{port: %d, protocol: TCP}]}
`, benchNamespace, name, at.Addr(), affinity, at.Port()), fmt.Sprintf(`apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: %s, name: %s, labels: {kubernetes.io/service-name: %[2]s}}
addressType: IPv4
ports: [{name: "", protocol: TCP, port: %d}]
endpoints: [%s]
`, benchNamespace, name, connectPort, strings.Join(addrs, ", "))}
}

// targets are where connections are made to, in turn, and what was measured of it.
// Each has a client of its own: to an endpoint, connections through a Service and
// past it look alike.
type targets struct {
	what string
	from *bed.Host
	at   []netip.AddrPort
	took times // until connected
	rate []float64
	cost effort // of all of these connections
}

// effort is what connections have cost Open vSwitch.
type effort struct {
	cpu time.Duration
	// passes are how often the userspace datapath has looked a packet up, upcalls how
	// often it had no megaflow and the pipeline was walked.
	passes, upcalls int
}

// effort returns what all has cost so far.
func (s *stand) effort() (c effort, err error) {
	if s.beds[0].OVS.Datapath() != sandbox.Netdev {
		return c, nil
	}
	if c.cpu, err = s.vswitchdTime(); err != nil {
		return c, err
	}
	text, err := s.beds[0].OVS.Vswitchd().Call(s.ctx, "dpif-netdev/pmd-stats-show")
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.Atoi(value)
		if err != nil {
			continue // a heading, or a fraction
		}
		switch name {
		case "packets received", "packet recirculations":
			c.passes += n
		case "miss with success upcall":
			c.upcalls += n
		}
	}
	return c, err
}

func (c *effort) add(before, after effort) {
	c.cpu += after.cpu - before.cpu
	c.passes += after.passes - before.passes
	c.upcalls += after.upcalls - before.upcalls
}

// compareConnects makes connections to some targets, in turn, and prints them beside
// those to the first.
func (s *stand) compareConnects(r *report, direct *targets, others ...*targets) error {
	all := append([]*targets{direct}, others...)
	for range connectRounds {
		for _, t := range all {
			before, err := s.effort()
			if err != nil {
				return err
			}
			started := time.Now()
			took, err := t.connect(connectWorkers, connectTime)
			if err != nil {
				return fmt.Errorf("%s: %w", t.what, err)
			}
			t.rate = append(t.rate, float64(len(took))/time.Since(started).Seconds())
			t.took = append(t.took, took...)
			after, err := s.effort()
			if err != nil {
				return err
			}
			t.cost.add(before, after)
		}
	}
	const of = "direct"
	for _, t := range others {
		r.against(t.what+": connections by "+fmt.Sprint(connectWorkers)+" workers", quantity{median(t.rate), "/s"}, quantity{median(direct.rate), "/s"}, of)
		r.latencies(t.what+": until connected", t.took, direct.took, of)
		if s.beds[0].OVS.Datapath() == sandbox.Netdev {
			each := func(t *targets) quantity { return quantity{t.cost.cpu.Seconds() / float64(len(t.took)), "s"} }
			passes := func(t *targets) quantity { return quantity{float64(t.cost.passes) / float64(len(t.took)), "lookups"} }
			r.against(t.what+": ovs-vswitchd's processor time for each", each(t), each(direct), of)
			r.against(t.what+": lookups in the datapath for each", passes(t), passes(direct), of)
			r.against(t.what+": upcalls for all", count(t.cost.upcalls), count(direct.cost.upcalls), of)
		}
	}
	return nil
}

// echoOnce has a host send the first byte of each connection back, and close it.
func echoOnce(h *bed.Host) (net.Listener, error) {
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(h.Addr(4), connectPort).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer c.Close()
				b := make([]byte, 1)
				if _, err := c.Read(b); err == nil {
					_, _ = c.Write(b) // the client sees it
				}
			}()
		}
	}()
	return l, nil
}

// connect has workers make connections for some time, and at least one, send a byte
// on each and read it back. It returns how long each took until it was connected.
func (t *targets) connect(workers int, d time.Duration) (times, error) {
	var mu sync.Mutex
	var all times
	var errs []error
	var group sync.WaitGroup
	started := time.Now()
	for w := range workers {
		group.Go(func() {
			var own times
			err := t.from.Do(func() error {
				for i := w; ; i++ {
					took, err := connectOnce(t.at[i%len(t.at)])
					if err != nil {
						return err
					}
					own = append(own, took)
					if time.Since(started) >= d || len(own) >= connectMost/workers {
						return nil
					}
				}
			})
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, own...), append(errs, err)
		})
	}
	group.Wait()
	return all, errors.Join(errs...)
}

// connectOnce makes a connection from the namespace of the calling thread. It uses
// the socket as it is: a poller and a thread for each would be most of the time.
func connectOnce(to netip.AddrPort) (took time.Duration, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("connection to %s: %w", to, err)
		}
	}()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(int64(5 * time.Second))
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return 0, err
		}
	}
	started := time.Now()
	for {
		err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
		if err == nil || errors.Is(err, unix.EISCONN) {
			break
		}
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EALREADY) {
			return 0, err
		}
	}
	took = time.Since(started)
	b := []byte{1}
	if _, err := unix.Write(fd, b); err != nil {
		return 0, err
	}
	for {
		n, err := unix.Read(fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = errors.New("closed without an answer")
		}
		return took, err
	}
}
