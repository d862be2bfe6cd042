package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/test/bed"
)

// probe is a connection to be tried.
type probe struct {
	from, to *bed.Host
	family   int
	protocol corev1.Protocol // TCP, UDP, SCTP or oracle.ICMP
	port     uint16
}

// String returns the probe on one line.
func (p probe) String() string {
	return fmt.Sprintf("%s -> %s IPv%d %s/%d", p.from.Name, p.to.Name, p.family, p.protocol, p.port)
}

// target returns where the probe goes.
func (p probe) target() netip.AddrPort { return netip.AddrPortFrom(p.to.Addr(p.family), p.port) }

// send sends the probe's packets and returns nil if they were answered; an error
// that wraps bed.ErrNoAnswer if nothing came in time.
func (p probe) send(ctx context.Context, wait time.Duration) error {
	switch p.protocol {
	case corev1.ProtocolTCP, corev1.ProtocolUDP:
		return p.from.Probe(ctx, strings.ToLower(string(p.protocol)), p.target(), wait)
	case corev1.ProtocolSCTP:
		return associate(ctx, p.from, p.to, p.target(), wait)
	case oracle.ICMP:
		return ping(p.from, p.target().Addr(), wait)
	}
	return fmt.Errorf("no probes of protocol %q", p.protocol)
}

// between returns the probes from each of the first hosts to each of the others,
// of TCP and UDP on all served ports, and of ICMP.
func between(from, to []*bed.Host) (all []probe) {
	for _, f := range from {
		for _, h := range to {
			for _, family := range []int{4, 6} {
				if !f.Addr(family).IsValid() || !h.Addr(family).IsValid() {
					continue
				}
				for _, port := range servedPorts {
					all = append(all, probe{f, h, family, corev1.ProtocolTCP, port}, probe{f, h, family, corev1.ProtocolUDP, port})
				}
				all = append(all, probe{from: f, to: h, family: family, protocol: oracle.ICMP})
			}
		}
	}
	return all
}

// hosts returns the hosts that pods are.
func hosts(pods ...*bed.Pod) (all []*bed.Host) {
	for _, p := range pods {
		all = append(all, &p.Host)
	}
	return all
}

// conn returns the probe as the oracle sees it.
func (n *node) conn(p probe) oracle.Conn {
	return oracle.Conn{
		Src: oracle.Endpoint{Pod: keyOf(p.from), Addr: n.source(p)}, Dst: oracle.Endpoint{Pod: keyOf(p.to), Addr: p.target().Addr()},
		Protocol: p.protocol, Port: p.port, FromOwnNode: p.from == n.Node,
	}
}

// source returns the address that a probe comes from.
func (n *node) source(p probe) netip.Addr {
	if p.from != n.Node {
		return p.from.Addr(p.family)
	}
	// The node's network stack takes that of the interface towards its pods.
	for _, a := range n.gateways {
		if a.Is4() == (p.family == 4) {
			return a
		}
	}
	return netip.Addr{}
}

// parallel is how many probes are under way at a time.
const parallel = 32

// check sends probes and holds what comes of them against the oracle, and against
// what the agent's trace says. It first waits until the agent enforces what the
// API server holds: until all traces are as the oracle says.
func (n *node) check(t testing.TB, probes ...probe) {
	t.Helper()
	cluster := n.oracle(t)
	var allowed int
	var group errgroup.Group
	group.SetLimit(parallel)
	ctx := within(t)
	for _, p := range probes {
		want := cluster.Judge(n.conn(p)).AllowedOn(n.name)
		if want {
			allowed++
		}
		group.Go(func() error {
			if err := poll(ctx, func(ctx context.Context) error { return n.traced(ctx, p, want) }); err != nil {
				t.Errorf("%v: %v", p, err)
				return nil
			}
			n.expect(t, p, want)
			return nil
		})
	}
	_ = group.Wait()
	if len(probes) > 10 {
		t.Logf("%d probes, %d of them allowed", len(probes), allowed)
	}
}

// expect sends a probe and fails the test if what comes of it is not as wanted.
func (n *node) expect(t testing.TB, p probe, allowed bool) {
	t.Helper()
	wait := silence()
	if allowed {
		wait = soon()
	}
	err := p.send(t.Context(), wait)
	switch {
	case allowed && err != nil:
		t.Errorf("%v: %v, want an answer", p, err)
	case !allowed && !errors.Is(err, bed.ErrNoAnswer):
		t.Errorf("%v: %v, want no answer", p, err)
	}
}

// traced asks the agent for the way of a probe's first packet. It returns nil if
// the verdict is the wanted one.
func (n *node) traced(ctx context.Context, p probe, allowed bool) error {
	c := n.Client()
	defer c.Close()
	req := api.TraceRequest{
		From: n.source(p).String(), To: p.target().Addr().String(),
		Protocol: strings.ToLower(string(p.protocol)), Port: p.port,
	}
	x, err := c.Trace(ctx, req)
	if err != nil {
		return err
	}
	if (x.Verdict == api.Allowed) != allowed {
		return fmt.Errorf("the agent's trace says %s (%s), the oracle says allowed: %v", x.Verdict, x.Reason, allowed)
	}
	return nil
}
