package vsdb

import (
	"context"
	"maps"
	"slices"
)

// PortEventKind says what has happened to a port.
type PortEventKind uint8

const (
	// PortReady: the port has an OpenFlow port number. This is also the first
	// event of each port that has one when the subscription begins.
	PortReady PortEventKind = iota + 1
	// PortChanged: the number or the attachment of a ready port is another one
	// now. So it may be after a restart of Open vSwitch.
	PortChanged
	// PortLost: the port stands in the database but has no number any more, as
	// its network device has gone, say. Port.Error has ovs-vswitchd's reason.
	PortLost
	// PortRemoved: the port was removed from the database. It holds the last known
	// state.
	PortRemoved
)

// String returns "ready", "changed", "lost" or "removed".
func (k PortEventKind) String() string {
	switch k {
	case PortReady:
		return "ready"
	case PortChanged:
		return "changed"
	case PortLost:
		return "lost"
	case PortRemoved:
		return "removed"
	}
	return "unknown"
}

// PortEvent is a change of a pod's port.
type PortEvent struct {
	Kind PortEventKind
	Port Port
	// OldOFPort is the number the port had before, zero if none.
	OldOFPort uint32
}

// Subscribe calls fn for the pods' ports there are and then for each change,
// one call at a time, until cancel is called or the DB is closed; cancel does not
// wait for a call that has begun, and fn must not call Close. Changes that
// follow each other faster than fn returns may come as one. While the database
// can't be reached nothing is known and nothing is called; afterwards fn hears
// of what has changed meanwhile, also if it is a different database now.
//
// A restart of ovs-vswitchd that gives all ports the numbers they had, as it
// usually does, can't be seen in the database.
func (db *DB) Subscribe(fn func(PortEvent)) (cancel func()) {
	ctx, stop := context.WithCancel(db.running)
	db.stopped.Go(func() { db.follow(ctx, fn) })
	return stop
}

// follow compares what it has told with what there is. That needs no event of
// the replica to arrive, only that one does when something has changed.
func (db *DB) follow(ctx context.Context, fn func(PortEvent)) {
	known := map[string]Port{}
	// It ends with the context or the DB, neither of which is anything to report.
	_ = db.await(ctx, func(s *session) (bool, error) {
		ports := s.ports()
		now := make(map[string]Port, len(ports))
		for _, port := range ports {
			now[port.Name] = port
		}
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if _, stands := now[name]; !stands {
				fn(PortEvent{Kind: PortRemoved, Port: known[name], OldOFPort: known[name].OFPort})
			}
		}
		for _, port := range ports {
			if kind := compare(known[port.Name], port); kind != 0 {
				fn(PortEvent{Kind: kind, Port: port, OldOFPort: known[port.Name].OFPort})
			}
		}
		known = now
		return false, nil
	})
}

// compare returns the kind of event that tells of a port which stands in the
// database, zero for none.
func compare(before, now Port) PortEventKind {
	switch {
	case before.OFPort == 0 && now.OFPort != 0:
		return PortReady
	case before.OFPort != 0 && now.OFPort == 0:
		return PortLost
	case before.OFPort != now.OFPort, now.OFPort != 0 && !before.Attachment.Equal(now.Attachment):
		return PortChanged
	}
	return 0
}
