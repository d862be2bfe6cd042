package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/test/bed"
)

const (
	// streamWarm is how long TCP has to find its speed before anything is counted,
	// streamTime how long it is counted.
	streamWarm = 150 * time.Millisecond
	streamTime = 500 * time.Millisecond
	// roundTripTime is for how long small messages go to and fro.
	roundTripTime = 250 * time.Millisecond
	messageSize   = 64
	// tooLong ends a measurement whose packets are lost.
	tooLong = 10 * time.Second
)

// throughput returns how many bits a second TCP brings from one host to another,
// over a number of connections at once, and how many bytes that was while it was
// counted. begin and end are called when counting begins and ends.
func throughput(from, to *bed.Host, port uint16, streams int, begin, end func() error) (perSecond, bytes float64, err error) {
	at := netip.AddrPortFrom(to.Addr(4), port)
	var l *net.TCPListener
	err = to.Do(func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), tooLong)
	defer cancel()
	var got atomic.Uint64
	var all sync.WaitGroup
	defer all.Wait()
	for range streams {
		out, in, err := pair(ctx, from, at, l)
		if err != nil {
			return 0, 0, err
		}
		// What is still queued is thrown away, not sent.
		defer func() {
			_ = out.SetLinger(0)
			out.Close()
			in.Close()
		}()
		all.Go(func() { send(out) })
		all.Go(func() { receive(in, &got) })
	}
	time.Sleep(streamWarm)
	if err := begin(); err != nil {
		return 0, 0, err
	}
	started, before := time.Now(), got.Load()
	time.Sleep(streamTime)
	bytes, took := float64(got.Load()-before), time.Since(started)
	return 8 * bytes / took.Seconds(), bytes, end()
}

// pair makes a connection and returns both its ends.
func pair(ctx context.Context, from *bed.Host, at netip.AddrPort, l *net.TCPListener) (out, in *net.TCPConn, err error) {
	c, err := from.Dial(ctx, "tcp", at)
	if err != nil {
		return nil, nil, fmt.Errorf("connect from %s: %w", from.Name, err)
	}
	deadline, _ := ctx.Deadline()
	if err := errors.Join(c.SetDeadline(deadline), l.SetDeadline(deadline)); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	if in, err = l.AcceptTCP(); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c.(*net.TCPConn), in, nil
}

// send writes until the connection is closed.
func send(c *net.TCPConn) {
	data := make([]byte, 128<<10)
	for {
		if _, err := c.Write(data); err != nil {
			return
		}
	}
}

// receive counts what comes until the connection is closed.
func receive(c *net.TCPConn, got *atomic.Uint64) {
	data := make([]byte, 1<<20)
	for {
		n, err := c.Read(data)
		got.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

// roundTrips returns how long small messages take to a server of bed.Host.Serve and
// back, one after the other on one connection.
func roundTrips(ctx context.Context, network string, from *bed.Host, to netip.AddrPort) (times, error) {
	c, err := from.Dial(ctx, network, to)
	if err != nil {
		return nil, fmt.Errorf("connect from %s: %w", from.Name, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(tooLong)); err != nil {
		return nil, err
	}
	message := make([]byte, messageSize)
	exchange := func(int) error {
		if _, err := c.Write(message); err != nil {
			return err
		}
		_, err := io.ReadFull(c, message)
		return err
	}
	// The first ones set up what later ones find: caches of flows, and TCP's state.
	if _, err := repeat(20, exchange); err != nil {
		return nil, err
	}
	var took times
	for started := time.Now(); time.Since(started) < roundTripTime; {
		one, err := clock(func() error { return exchange(0) })
		if err != nil {
			return nil, fmt.Errorf("%s from %s to %s: %w", network, from.Name, to, err)
		}
		took = append(took, one)
	}
	return took, nil
}
