package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/test/bed"
)

// traffic is traffic between two hosts that must not be disturbed: datagrams on a
// standing and on ever new connections, each of which has to be answered, and a
// standing TCP connection.
type traffic struct {
	t    testing.TB
	stop func() // ends it, and fails the test if anything was lost

	rounds atomic.Int64
}

// startTraffic returns when the first round is done.
func startTraffic(t testing.TB, from, to *bed.Host, family int) *traffic {
	t.Helper()
	p := probe{from, to, family, corev1.ProtocolUDP, 80}
	tcp, udp := dial(t, from, "tcp", p), dial(t, from, "udp", p)
	ctx, cancel := context.WithCancel(t.Context())
	tr := &traffic{t: t}
	ended := make(chan error, 1)
	go func() { ended <- tr.run(ctx, p, tcp, udp) }()
	var once sync.Once
	tr.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("traffic %v, after %d rounds: %v", p, tr.rounds.Load(), err)
			}
		})
	}
	t.Cleanup(tr.stop)
	return tr
}

func (tr *traffic) run(ctx context.Context, p probe, tcp, udp net.Conn) error {
	pace := time.NewTicker(5 * time.Millisecond) // each round leaves an entry in connection tracking
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		// Not in ctx: a round that has begun ends.
		if err := bed.Exchange(udp, soon()); err != nil {
			return fmt.Errorf("standing UDP: %w", err)
		}
		if err := p.send(context.Background(), soon()); err != nil {
			return fmt.Errorf("new UDP: %w", err)
		}
		if err := bed.Exchange(tcp, soon()); err != nil {
			return fmt.Errorf("standing TCP: %w", err)
		}
		tr.rounds.Add(1)
	}
}

// moreRounds waits until some more rounds are done.
func (tr *traffic) moreRounds() {
	tr.t.Helper()
	const enough = 10
	end := tr.rounds.Load() + enough
	eventually(tr.t, "traffic goes on", func(context.Context) error {
		if done := tr.rounds.Load(); done < end {
			return fmt.Errorf("%d rounds are done, want %d", done, end)
		}
		return nil
	})
}

// sink counts the datagrams that reach a port of a host.
type sink struct {
	conn  *net.UDPConn
	count atomic.Int64
	done  chan struct{}
}

// startSink opens a sink, on all addresses that the host has or will have.
func startSink(t testing.TB, h *bed.Host, port uint16) *sink {
	t.Helper()
	s := &sink{done: make(chan struct{})}
	err := h.Do(func() (err error) {
		s.conn, err = net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		buffer := make([]byte, 1<<16)
		for {
			_, _, err := s.conn.ReadFromUDPAddrPort(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				s.count.Add(1)
			}
		}
	}()
	t.Cleanup(func() {
		s.conn.Close()
		<-s.done
	})
	return s
}

// targetsOf returns a port of all addresses of a pod.
func targetsOf(p *bed.Pod, port uint16) (all []netip.AddrPort) {
	for _, a := range p.Addrs {
		all = append(all, netip.AddrPortFrom(a, port))
	}
	return all
}

// flood sends datagrams to all targets, again and again, until the returned
// function is called. That returns how many have been sent.
func flood(t testing.TB, from *bed.Host, targets []netip.AddrPort) (stop func() int) {
	t.Helper()
	var c *net.UDPConn
	err := from.Do(func() (err error) {
		c, err = net.ListenUDP("udp", nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan int, 1)
	go func() {
		defer c.Close()
		count := 0
		for ctx.Err() == nil {
			for _, to := range targets {
				// An error is about an earlier datagram, or there is no room for more.
				if _, err := c.WriteToUDPAddrPort([]byte("flood"), to); err == nil {
					count++
				}
			}
		}
		sent <- count
	}()
	var once sync.Once
	total := 0
	stop = func() int {
		once.Do(func() {
			cancel()
			total = <-sent
		})
		return total
	}
	t.Cleanup(func() { stop() })
	return stop
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
