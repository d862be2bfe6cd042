package ipam

import (
	"context"
	"net"
	"net/netip"

	"github.com/sluice-cni/sluice/ovs/vsdb"
)

// AddPort adds a port with an address of each CIDR. mac gives the Ethernet
// address that goes with them. If the database has a port with one of the
// addresses, which the pool did not know of, the pool learns what ports there
// are and others are tried.
//
// The errors are those of Allocate and of vsdb.DB.AddPort; after one no address
// is taken.
func (p *Pool) AddPort(ctx context.Context, db *vsdb.DB, spec vsdb.PortSpec,
	mac func([]netip.Addr) net.HardwareAddr) (vsdb.Port, error) {
	var r *Reservation
	spec.Pick = func(a *vsdb.Attachment) (err error) {
		if r != nil { // its addresses turned out to be in use
			r.Release()
			if err := p.Sync(func() ([]vsdb.Port, error) { return db.Ports(ctx) }); err != nil {
				return err
			}
		}
		if r, err = p.Allocate(spec.Name); err != nil {
			return err
		}
		a.Addrs = r.Addrs()
		a.MAC = mac(a.Addrs)
		return nil
	}
	port, err := db.AddPort(ctx, spec)
	if err != nil {
		r.Release()
		return vsdb.Port{}, err
	}
	r.Commit()
	return port, nil
}

// DeletePort removes a port, if it is there, and gives its addresses back.
func (p *Pool) DeletePort(ctx context.Context, db *vsdb.DB, name string) error {
	if err := db.DeletePort(ctx, name); err != nil {
		return err
	}
	p.Free(name)
	return nil
}
