// Package vsdb speaks OVSDB (RFC 7047) to the ovsdb-server of Open vSwitch: it
// makes the bridge, its gateway port and the pods' ports, and follows the
// OpenFlow port numbers ovs-vswitchd gives them.
//
// The database is Sluice's only store. All that is needed to rebuild the state
// of a pod's port stands in the external_ids of its Port row (see Attachment),
// and the transaction that adds the row is what allocates the pod's addresses:
// the server refuses it if a port with one of them is there already.
//
// A DB keeps one session at a time: a connection and a replica of the few
// columns Sluice uses. A session is handed out only once its replica is filled
// and is given up as soon as its connection is lost, so nothing ever acts on a
// replica that is empty, half filled or left over from another server. What is
// called while there is no session waits for the next one, or for the end of
// its context.
package vsdb
