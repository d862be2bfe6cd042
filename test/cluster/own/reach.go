package own

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/sluice-cni/sluice/test/bed"
)

// reach probes a host from another over TCP and UDP, and each family of addresses
// that both have.
//
// What is sent while the underlay's address of a node is still asked for may be
// lost, as the userspace datapath does with all of it: TCP sends it again, and so
// must who uses UDP.
func reach(ctx context.Context, from, to *bed.Host) error {
	return each(from, to, func(network string, at netip.AddrPort) (err error) {
		tries, wait := 1, answers
		if network == "udp" {
			tries, wait = 3, answers/3
		}
		for range tries {
			if err = from.Probe(ctx, network, at, wait); err == nil {
				break
			}
		}
		return err
	})
}

// denied is the opposite: nothing may be answered.
func denied(ctx context.Context, from, to *bed.Host) error {
	return each(from, to, func(network string, at netip.AddrPort) error {
		switch err := from.Probe(ctx, network, at, silence); {
		case err == nil:
			return fmt.Errorf("%s reaches %s at %s %s", from.Name, to.Name, network, at)
		case errors.Is(err, bed.ErrNoAnswer):
			return nil
		default:
			return err
		}
	})
}

// each calls f for every way from a host to another, all at once.
func each(from, to *bed.Host, f func(network string, at netip.AddrPort) error) error {
	var errs []error
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, family := range []int{4, 6} {
		addr := to.Addr(family)
		if !addr.IsValid() || !from.Addr(family).IsValid() {
			continue
		}
		for _, network := range networks {
			all.Go(func() {
				if err := f(network, netip.AddrPortFrom(addr, port)); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
				}
			})
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

func podsReachEachOther(ctx context.Context, e *env) error {
	var errs []error
	for _, from := range e.pods {
		for _, to := range e.pods {
			if from.Host != to.Host {
				errs = append(errs, reach(ctx, from.Host, to.Host))
			}
		}
	}
	return errors.Join(errs...)
}

// A pod with hostNetwork is the node's network namespace.
func nodesAndPods(ctx context.Context, e *env) error {
	var errs []error
	for _, node := range e.nodes {
		for _, p := range e.pods {
			errs = append(errs, reach(ctx, node, p.Host), reach(ctx, p.Host, node))
		}
	}
	return errors.Join(errs...)
}

func sources(ctx context.Context, e *env) error {
	var errs []error
	from := e.pod("a", 0)
	for _, family := range e.families() {
		for _, c := range []struct {
			to   *bed.Host
			want netip.Addr
		}{
			{e.pod("b", 0).Host, from.Addr(family)},
			{e.pod("a", e.last()).Host, from.Addr(family)},
			{e.nodes[0], from.Addr(family)},
			{e.outside, e.nodes[0].Addr(family)},
		} {
			got, err := seenBy(ctx, c.to, from.Host, c.to.Addr(family))
			if err == nil && got != c.want {
				err = fmt.Errorf("%s sees %s as %s, want %s", c.to.Name, from.Name, got, c.want)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// seenBy returns the source address of a connection as its destination sees it.
func seenBy(ctx context.Context, to, from *bed.Host, at netip.Addr) (netip.Addr, error) {
	var l *net.TCPListener
	err := to.Do(func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	if err != nil {
		return netip.Addr{}, err
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(ctx, answers)
	defer cancel()
	local := l.Addr().(*net.TCPAddr).AddrPort()
	c, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(at, local.Port()))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("from %s to %s: %w", from.Name, to.Name, err)
	}
	defer c.Close()
	accepted, err := l.AcceptTCP()
	if err != nil {
		return netip.Addr{}, err
	}
	defer accepted.Close()
	return accepted.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(), nil
}

func namesAndServices(ctx context.Context, e *env) error {
	var errs []error
	const name = "kubernetes.default.svc.cluster.local."
	for _, from := range []*bed.Host{e.pod("a", 0).Host, e.pod("a", e.last()).Host} {
		for _, dns := range e.cluster.Plan.DNS {
			for _, network := range networks {
				r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return from.Dial(ctx, network, netip.AddrPortFrom(dns, 53))
				}}
				asked, cancel := context.WithTimeout(ctx, answers)
				addrs, err := r.LookupHost(asked, name)
				cancel()
				if err != nil {
					errs = append(errs, fmt.Errorf("%s asks %s over %s: %w", from.Name, dns, network, err))
					continue
				}
				errs = append(errs, connects(ctx, from, addrs[0], 443))
			}
		}
	}
	return errors.Join(errs...)
}

func connects(ctx context.Context, from *bed.Host, addr string, port uint16) error {
	at, err := netip.ParseAddr(addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answers)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(at, port))
	if err != nil {
		return fmt.Errorf("from %s: %w", from.Name, err)
	}
	return c.Close()
}
