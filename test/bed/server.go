package bed

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// server sends back what it gets.
type server struct {
	socket io.Closer

	mu     sync.Mutex
	conns  map[net.Conn]bool // accepted ones
	closed bool
	done   sync.WaitGroup
}

// serve starts a server in the namespace of the calling thread.
func serve(network string, on netip.AddrPort) (*server, error) {
	s := &server{conns: map[net.Conn]bool{}}
	switch network {
	case "tcp":
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(on))
		if err != nil {
			return nil, err
		}
		s.socket = l
		s.done.Go(func() { s.accept(l) })
	case "udp":
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(on))
		if err != nil {
			return nil, err
		}
		s.socket = c
		s.done.Go(func() { echoDatagrams(c) })
	default:
		return nil, fmt.Errorf("network %q is neither tcp nor udp", network)
	}
	return s, nil
}

func (s *server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		if s.closed {
			c.Close()
		} else {
			s.conns[c] = true
			s.done.Go(func() { s.echo(c) })
		}
		s.mu.Unlock()
	}
}

func (s *server) echo(c net.Conn) {
	_, _ = io.Copy(c, c) // until the other side ends
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.Close()
}

func echoDatagrams(c *net.UDPConn) {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // else an ICMP error that an answer has met with
			_, _ = c.WriteToUDPAddrPort(buffer[:n], from)
		}
	}
}

// close ends the server with its connections. A second close does nothing.
func (s *server) close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	err := s.socket.Close()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
	return err
}
