// Package enforce is the one writer of a bridge. It hears of the cluster and of
// the node's ports, has policies compiled and flows computed from them, and
// writes what differs as one atomic bundle.
//
//	cluster events ─┐                                             ┌─> bundle
//	ports (CNI)    ─┼─> loop: policy.Compiler ─> flows.Pipeline ──┤
//	node           ─┘                                             └─> sweep of live connections
//
// One goroutine, the loop, owns compiler and pipeline. It takes all that has
// come since its last turn at once, so that under load turns get larger and not
// more. Nothing is written before the cluster and the node are known: until
// then an earlier agent's flows stay in force, and a port without flows passes
// nothing. The first turn reads what the bridge holds, takes over the numbers
// in it and writes only the difference.
//
// When policies change, live connections are judged anew in the background
// (sweep.go): those that are no longer allowed are removed from connection
// tracking, the others aren't touched.
package enforce
