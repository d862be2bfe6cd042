// Package ipam hands out pods' addresses from the node's podCIDRs.
//
// It stores nothing. Which addresses are in use is said by the port records in
// OVSDB alone: a Pool is filled from them (Sync), and what Allocate gives is
// only a reservation until the transaction that adds the port, which is the
// allocation, has been committed. The database refuses that transaction if a
// port with one of the addresses exists, so a Pool that knows too little costs
// another try and never a duplicate.
//
//	var r *ipam.Reservation
//	spec.Pick = func(a *vsdb.Attachment) (err error) {
//		if r != nil { // its addresses turned out to be in use
//			r.Release()
//			if err := pool.Sync(ports); err != nil {
//				return err
//			}
//		}
//		if r, err = pool.Allocate(spec.Name); err == nil {
//			a.Addrs = r.Addrs()
//		}
//		return err
//	}
//	port, err := db.AddPort(ctx, spec)
//	if err != nil {
//		r.Release()
//		return err
//	}
//	r.Commit()
//
// An address that is freed goes to the end of the line: whoever still sends to
// the pod that had it, or still has it in a cache, should not meet another pod.
package ipam
