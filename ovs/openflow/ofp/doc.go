// Package ofp encodes and decodes the messages of OpenFlow 1.5, with the
// extensions of Open vSwitch, as ovs-vswitchd 3.1 sends and takes them.
//
// It knows the wire and nothing else: no connection, no text. A [Message] is
// appended to a buffer by [Append] and read by [Parse], one file for each
// family of messages. The fields of packets are one table, [Fields], that
// serves encoding and decoding.
//
// What this package has no type for is an error that wraps [ErrUnknown], never
// a guess: a caller that needs the rest has ovs-ofctl. Bytes that contradict
// themselves are an error that wraps [ErrMalformed].
//
// The source of the layouts is the OpenFlow Switch Specification 1.5.1; for the
// extensions, ovs-actions(7), ovs-fields(7) and the messages themselves, which
// the tests compare with `ovs-ofctl ofp-print`.
package ofp
