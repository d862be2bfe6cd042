// Package channel speaks OpenFlow 1.5 to a bridge over one connection.
//
// A [Conn] is a connection that has agreed on the version. Any number of
// requests can be under way on it: answers find their request by transaction
// id, and no lock is held while one waits. A request that its context ends
// before it is sent completely, or a bundle that is not finished, costs the
// connection, because what the switch then has is unknown.
//
// A [Channel] keeps a connection for those who ask now and then: it dials when
// it has none or the one it has is lost, and hangs up when nobody asked for a
// while, so that nothing has to be closed. [Listen] keeps a connection for the
// messages a switch sends unasked.
package channel
