package cluster

import "context"

// Source tells what is in a cluster and how it changes.
type Source interface {
	// Run reads the cluster and follows it until ctx is done, then returns nil.
	// An error means that the source cannot even begin; trouble later on is an
	// Event with a Problem, and Run keeps trying.
	//
	// All calls of emit come from one goroutine, one after the other, and each
	// carries all changes known by then, in the order in which they happened. The
	// slice is emit's to keep. After the first listing one Event with Synced is
	// emitted, once in the life of the source; up to then a pod may come before its
	// namespace.
	//
	// An object is emitted only when something of what Sluice keeps of it has
	// changed. A pod that took the place of another of the same name is announced
	// by a Deleted event of the old one first. Run may be called once.
	Run(ctx context.Context, emit func([]Event)) error
}
