// Package ipam hands out pods' addresses from the node's podCIDRs.
//
// It stores nothing. Which addresses are in use is said by the port records in
// OVSDB alone: a Pool is filled from them (Sync), and what Allocate gives is
// only a reservation until the transaction that adds the port, which is the
// allocation, has been committed. The database refuses that transaction if a
// port with one of the addresses exists, so a Pool that knows too little costs
// another try and never a duplicate.
// AddPort is the whole of it.
//
// An address that is freed goes to the end of the line: whoever still sends to
// the pod that had it, or still has it in a cache, should not meet another pod.
package ipam
