package own

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/test/bed"
)

// datagrams are numbered ones of a single flow, each to be answered.
type datagrams struct {
	conn     net.Conn
	sent     int
	answered map[uint64]bool
	err      error // of sending
	done     sync.WaitGroup
}

// startDatagrams sends one each tick until ctx ends.
func startDatagrams(ctx context.Context, from, to *bed.Host, family int) (*datagrams, error) {
	c, err := from.Dial(ctx, "udp", netip.AddrPortFrom(to.Addr(family), port))
	if err != nil {
		return nil, err
	}
	d := &datagrams{conn: c, answered: map[uint64]bool{}}
	d.done.Go(d.receive)
	d.done.Go(func() { d.send(ctx) })
	return d, nil
}

func (d *datagrams) send(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
			number := binary.BigEndian.AppendUint64(nil, uint64(d.sent))
			if _, err := d.conn.Write(number); err != nil {
				d.err = err // an ICMP error: the datagram before was refused
			}
			d.sent++
		}
	}
	// The last answers are on their way.
	d.err = errors.Join(d.err, d.conn.SetReadDeadline(time.Now().Add(silence)))
}

func (d *datagrams) receive() {
	buffer := make([]byte, 64)
	for {
		n, err := d.conn.Read(buffer)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err == nil && n == 8:
			d.answered[binary.BigEndian.Uint64(buffer)] = true
		}
	}
}

// wait waits for the last answers once sending has ended.
func (d *datagrams) wait() error {
	d.done.Wait()
	return errors.Join(d.err, d.conn.Close())
}

func (d *datagrams) lost() int { return d.sent - len(d.answered) }

// row is how many were lost one after the other, at most.
func (d *datagrams) row() int {
	longest, row := 0, 0
	for i := range d.sent {
		row++
		if d.answered[uint64(i)] {
			row = 0
		}
		longest = max(longest, row)
	}
	return longest
}

// conns are TCP connections, one after the other and each used once.
type conns struct {
	made   int
	took   []time.Duration // of those that were answered
	failed error           // the last that was not
	done   sync.WaitGroup
}

// startConns makes connections until ctx ends.
func startConns(ctx context.Context, from, to *bed.Host, family int, every time.Duration) *conns {
	s := &conns{}
	s.done.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-ticker.C:
				begin := time.Now()
				s.made++
				// The one that is being made when all ends is waited for.
				err := from.Probe(context.WithoutCancel(ctx), "tcp", netip.AddrPortFrom(to.Addr(family), port), answers)
				if err != nil {
					s.failed = err
					continue
				}
				s.took = append(s.took, time.Since(begin))
			}
		}
	})
	return s
}

func (s *conns) longest() time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	return slices.Max(s.took)
}
