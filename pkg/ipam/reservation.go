package ipam

import (
	"net/netip"
	"slices"
)

// Reservation keeps addresses for a port that is being added. A nil Reservation
// is one of no addresses.
type Reservation struct {
	pool  *Pool
	port  string
	addrs []netip.Addr
	over  bool // committed or released; guarded by pool.mu
}

// Addrs returns the reserved addresses, in the order of the CIDRs.
func (r *Reservation) Addrs() []netip.Addr {
	if r == nil {
		return nil
	}
	return slices.Clone(r.addrs)
}

// Commit says that the port is in the database: its addresses are in use until
// they are freed. It does nothing after Commit or Release.
func (r *Reservation) Commit() {
	if r == nil {
		return
	}
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if r.over {
		return
	}
	r.over = true
	r.pool.seq++
	for _, addr := range r.addrs {
		r.pool.used[addr] = use{port: r.port, commit: r.pool.seq}
	}
}

// Release gives the addresses back. It does nothing after Commit or Release.
func (r *Reservation) Release() {
	if r == nil {
		return
	}
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.release()
}

func (r *Reservation) release() {
	if r.over {
		return
	}
	r.over = true
	for _, addr := range r.addrs {
		r.pool.free(addr)
	}
}
