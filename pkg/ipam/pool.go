package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/sluice-cni/sluice/ovs/vsdb"
)

// ExhaustedError says that a CIDR has no address left.
type ExhaustedError struct {
	CIDR netip.Prefix
	// Usable is the number of the CIDR's addresses that pods can have; Used of them
	// belong to ports or to ports being added, Reserved are kept free.
	Usable         uint64
	Used, Reserved int
}

func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("podCIDR %s is exhausted: of %d addresses for pods %d are in use and %d reserved",
		e.CIDR, e.Usable, e.Used, e.Reserved)
}

// Pool hands out the addresses of the node's podCIDRs. It is safe for
// concurrent use.
type Pool struct {
	mu       sync.Mutex
	spans    []*span // in the order of the CIDRs
	reserved map[netip.Addr]struct{}
	// used are the addresses of ports, whether in a CIDR or not, and those of
	// reservations.
	used map[netip.Addr]use

	// seq numbers commits and frees, to tell those that a Sync can't know of. The
	// frees are kept only while one runs.
	seq   uint64
	syncs int
	frees map[string]uint64 // by port
}

// use says who has an address.
type use struct {
	port string
	// pending is set as long as it is a reservation.
	pending *Reservation
	// commit is the Pool's seq of the commit; zero if a Sync has found the port.
	commit uint64
}

// ErrNoCIDR says that the node has no podCIDR, or that it is not known yet.
var ErrNoCIDR = errors.New("the node's podCIDRs are not known yet")

// New returns a pool of the addresses of the CIDRs, at most one of each family,
// without their network, broadcast, gateway and ServiceSource addresses and
// without those reserved.
func New(cidrs []netip.Prefix, reserved ...netip.Addr) (*Pool, error) {
	p := &Pool{reserved: map[netip.Addr]struct{}{}, used: map[netip.Addr]use{}, frees: map[string]uint64{}}
	for _, addr := range reserved {
		p.reserved[addr.Unmap()] = struct{}{}
	}
	if err := p.SetCIDRs(cidrs); err != nil {
		return nil, err
	}
	return p, nil
}

// SetCIDRs replaces the CIDRs. Addresses in use stay so, whether they are in one
// of the new CIDRs or not. After an error the CIDRs are what they were.
func (p *Pool) SetCIDRs(cidrs []netip.Prefix) error {
	for i, cidr := range cidrs {
		if err := checkCIDR(cidr); err != nil {
			return err
		}
		for _, other := range cidrs[:i] {
			if other.Addr().BitLen() == cidr.Addr().BitLen() {
				return fmt.Errorf("podCIDRs %s and %s are of the same family", other, cidr)
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	spans := make([]*span, 0, len(cidrs))
	for _, cidr := range cidrs {
		i := slices.IndexFunc(p.spans, func(s *span) bool { return s.cidr == cidr })
		if i >= 0 {
			spans = append(spans, p.spans[i])
			continue
		}
		s := newSpan(cidr)
		p.rewind(s)
		spans = append(spans, s)
	}
	p.spans = spans
	return nil
}

// rewind begins the lap of a span after its highest address in use. Nothing
// tells when the ones below were last used, so they come last.
func (p *Pool) rewind(s *span) {
	highest := netip.Addr{}
	for addr := range p.used {
		if s.contains(addr) && (!highest.IsValid() || highest.Less(addr)) {
			highest = addr
		}
	}
	if highest.IsValid() {
		s.startLap(s.after(highest))
	}
}

// Sync makes the pool know the addresses of all ports there are, and only them,
// beside the reservations. read must return the ports that stand in the database
// at the time of its call, as vsdb.DB.Ports does; what is committed or freed
// while it runs is not undone.
func (p *Pool) Sync(read func() ([]vsdb.Port, error)) error {
	p.mu.Lock()
	before := p.seq
	p.syncs++
	p.mu.Unlock()

	ports, err := read()

	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.adopt(ports, before)
	}
	if p.syncs--; p.syncs == 0 {
		clear(p.frees)
	}
	return err
}

// adopt takes over the ports that stood in the database when seq was before.
func (p *Pool) adopt(ports []vsdb.Port, before uint64) {
	first := len(p.used) == 0
	stands := map[netip.Addr]string{}
	for _, port := range ports {
		if p.frees[port.Name] > before {
			continue
		}
		for _, addr := range port.Addrs {
			stands[addr] = port.Name
		}
	}
	for addr, u := range p.used {
		if _, there := stands[addr]; !there && u.pending == nil && u.commit <= before {
			p.free(addr)
		}
	}
	for addr, port := range stands {
		if _, there := p.used[addr]; !there {
			p.used[addr] = use{port: port}
		}
	}
	if first {
		for _, s := range p.spans {
			p.rewind(s)
		}
	}
}

// Allocate reserves an address of each CIDR, in the order of the CIDRs, for the
// port of that name. The reservation is to be committed once the port is in the
// database, or else released. If a CIDR has none left the error is an
// *ExhaustedError and nothing is reserved; without a CIDR it is ErrNoCIDR.
func (p *Pool) Allocate(port string) (*Reservation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spans) == 0 {
		return nil, ErrNoCIDR
	}
	r := &Reservation{pool: p, port: port}
	for _, s := range p.spans {
		addr, ok := s.take(p.taken)
		if !ok {
			r.release()
			return nil, p.exhausted(s)
		}
		p.used[addr] = use{port: port, pending: r}
		r.addrs = append(r.addrs, addr)
	}
	return r, nil
}

func (p *Pool) taken(addr netip.Addr) bool {
	if _, reserved := p.reserved[addr]; reserved {
		return true
	}
	_, used := p.used[addr]
	return used
}

func (p *Pool) exhausted(s *span) *ExhaustedError {
	e := &ExhaustedError{CIDR: s.cidr, Usable: size(s.cidr)}
	for addr := range p.used {
		if s.contains(addr) {
			e.Used++
		}
	}
	for addr := range p.reserved {
		if _, used := p.used[addr]; !used && s.contains(addr) {
			e.Reserved++
		}
	}
	return e
}

// Free gives back the addresses of a port that was removed from the database.
// Reservations for a port of that name stay.
func (p *Pool) Free(port string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, u := range p.used {
		if u.port == port && u.pending == nil {
			p.free(addr)
		}
	}
	if p.syncs > 0 {
		p.seq++
		p.frees[port] = p.seq
	}
}

func (p *Pool) free(addr netip.Addr) {
	delete(p.used, addr)
	for _, s := range p.spans {
		s.free(addr)
	}
}

// Usage is how much of a CIDR is in use.
type Usage struct {
	CIDR netip.Prefix
	// Usable is the number of addresses that pods can have, reserved ones counted,
	// at most the largest uint64.
	Usable uint64
	// Used is the number of those that belong to ports or reservations.
	Used int
}

// Usage returns how much of each CIDR is in use.
func (p *Pool) Usage() []Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Usage
	for _, s := range p.spans {
		e := p.exhausted(s)
		list = append(list, Usage{CIDR: e.CIDR, Usable: e.Usable, Used: e.Used})
	}
	return list
}

// ServiceSources returns the ServiceSource of each CIDR that has one, without
// those that a port has: it keeps what an agent that reserved nothing gave it, and
// until it goes the CIDR has no source.
func (p *Pool) ServiceSources() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []netip.Addr
	for _, s := range p.spans {
		source := ServiceSource(s.cidr)
		if _, used := p.used[source]; source.IsValid() && !used {
			list = append(list, source)
		}
	}
	return list
}
