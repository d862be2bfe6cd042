package vsdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// keyRestore is the key of other_config for which an ovs-vswitchd that starts
// waits (ovs-vswitchd.conf.db(5)).
const keyRestore = "flow-restore-wait"

// IDRestore is the key of the database's external_ids that says "true" if it is
// for Sluice to end such a wait.
const IDRestore = IDPrefix + "flow-restore-wait"

// Restore says whose flows an ovs-vswitchd waits for, if it was started while
// other_config:flow-restore-wait was true. Until that is taken away it hands no
// packet to its flows, and leaves the kernel's datapath to go on with what that has
// cached. One that has begun to work takes no notice any more.
type Restore uint8

const (
	// RestoreNone: it waits for nobody's.
	RestoreNone Restore = iota
	// RestoreOwn: it waits for Sluice's, which was marked with IDRestore.
	RestoreOwn
	// RestoreForeign: it waits for somebody else, such as ovs-ctl(8), who writes flows
	// and ends the wait.
	RestoreForeign
)

func (r *rootRow) restore() Restore {
	switch {
	case r.OtherConfig[keyRestore] != "true":
		return RestoreNone
	case r.ExternalIDs[IDRestore] == "true":
		return RestoreOwn
	}
	return RestoreForeign
}

// Restore returns whose flows ovs-vswitchd is to wait for.
func (db *DB) Restore(ctx context.Context) (is Restore, err error) {
	s, err := db.fresh(ctx)
	if err != nil {
		return RestoreNone, fmt.Errorf("read other_config:%s: %w", keyRestore, err)
	}
	root, _ := s.root()
	return root.restore(), nil
}

// NextRestore waits until it is somebody else that ovs-vswitchd is to wait for,
// and returns who.
func (db *DB) NextRestore(ctx context.Context, was Restore) (is Restore, err error) {
	err = db.await(ctx, func(s *session) (bool, error) {
		root, ok := s.root()
		is = root.restore()
		return ok && is != was, nil
	})
	return is, err
}

// EndRestore has ovs-vswitchd work with the flows that it has now, if it is for
// Sluice to say so.
func (db *DB) EndRestore(ctx context.Context) error {
	for {
		s, err := db.fresh(ctx)
		if err != nil {
			return fmt.Errorf("end other_config:%s: %w", keyRestore, err)
		}
		// The mark may be gone by now: then it matches no row.
		own := where("external_ids", ovsdb.ConditionIncludes, ovsdb.OvsMap{GoMap: map[any]any{IDRestore: "true"}})
		remove := func(column, key string) ovsdb.Operation {
			return mutate(rootTable, own, column, ovsdb.MutateOperationDelete, ovsdb.OvsSet{GoSet: []any{key}})
		}
		_, err = db.write(ctx, s, remove("other_config", keyRestore), remove("external_ids", IDRestore))
		if errors.Is(err, errLost) {
			continue // if it took place, there is nothing to do any more
		}
		if err != nil {
			return fmt.Errorf("end other_config:%s: %w", keyRestore, err)
		}
		return nil
	}
}
