package bed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Host is a network stack from which and to which connections are made: the
// node's, a pod's, or that of a host outside.
type Host struct {
	*Netns
	Name string
	// Addrs are its addresses, at most one of each family for pods.
	Addrs []netip.Addr

	bind bool // connections are from Addrs

	mu      sync.Mutex
	servers []*server
}

// Addr returns the host's address of a family (4 or 6), or the zero address if it
// has none.
func (h *Host) Addr(family int) netip.Addr {
	for _, a := range h.Addrs {
		if a.Is4() == (family == 4) {
			return a
		}
	}
	return netip.Addr{}
}

// Dial opens a connection ("tcp" or "udp") from the host to an address.
func (h *Host) Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{}
	if from := of(to.Addr(), h.Addrs); h.bind && from.IsValid() {
		d.LocalAddr = local(network, netip.AddrPortFrom(from, 0))
	}
	var c net.Conn
	err := h.Do(func() (err error) {
		c, err = d.DialContext(ctx, network, to.String())
		return err
	})
	return c, err
}

func local(network string, a netip.AddrPort) net.Addr {
	if network == "udp" {
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}

// Serve has the host answer on a port ("tcp" or "udp") of all its addresses: what
// comes is sent back. It ends with the host, or when the returned function is
// called.
func (h *Host) Serve(network string, port uint16) (stop func() error, err error) {
	var started []*server
	stop = func() error {
		var errs []error
		for _, s := range started {
			errs = append(errs, s.close())
		}
		return errors.Join(errs...)
	}
	for _, a := range h.Addrs {
		var s *server
		err := h.Do(func() (err error) {
			s, err = serve(network, netip.AddrPortFrom(a, port))
			return err
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("serve %s on %s: %w", network, h.Name, err), stop())
		}
		started = append(started, s)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.servers = append(h.servers, started...)
	return stop, nil
}

// release ends the host's servers and removes its namespace.
func (h *Host) release() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, s := range h.servers {
		errs = append(errs, s.close())
	}
	h.servers = nil
	return errors.Join(append(errs, h.Delete())...)
}
