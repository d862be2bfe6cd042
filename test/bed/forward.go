package bed

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// forwarder carries TCP connections from an address in a namespace to the same
// address in this process's own. It passes on what breaks them.
type forwarder struct {
	listener net.Listener
	to       string

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	done   sync.WaitGroup
}

func forward(n *Netns, addr netip.AddrPort) (*forwarder, error) {
	f := &forwarder{to: addr.String(), conns: map[net.Conn]bool{}}
	err := n.Do(func() (err error) {
		f.listener, err = net.Listen("tcp", f.to)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("forward %s: %w", addr, err)
	}
	f.done.Go(f.accept)
	return f, nil
}

func (f *forwarder) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return // closed
		}
		f.done.Go(func() { f.carry(c) })
	}
}

func (f *forwarder) carry(from net.Conn) {
	defer f.drop(from)
	if !f.keep(from) {
		return
	}
	to, err := net.Dial("tcp", f.to)
	if err != nil {
		return // from is closed: nobody listens there either
	}
	defer f.drop(to)
	if !f.keep(to) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(from, to)
		from.Close()
	})
	_, _ = io.Copy(to, from)
	to.Close()
	back.Wait()
}

// keep has a connection closed by close; it reports whether that is still to come.
func (f *forwarder) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[c] = true
	return !f.closed
}

func (f *forwarder) drop(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
	c.Close()
}

func (f *forwarder) close() error {
	f.mu.Lock()
	f.closed = true
	err := f.listener.Close()
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.done.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
