package vsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// removeTimeout bounds the removal of a port that could not be brought up, which
// must not depend on the caller's context: that may be what ended.
const removeTimeout = 2 * time.Second

// maxPicks bounds how often PortSpec.Pick is asked for other addresses.
const maxPicks = 8

// PortSpec describes a port to add.
type PortSpec struct {
	// Bridge is the name of the bridge the port belongs to.
	Bridge string
	// Name is the name of the port and of its interface, at most 15 bytes.
	Name string
	// Type is the type of the interface: "" for a network device that exists
	// (veth), "internal", "dummy".
	Type string
	// Attachment is what is stored with the port.
	Attachment
	// Pick, if set, completes the attachment, by its addresses and MAC, right
	// before the transaction. If the database then turns out to have a port with
	// one of these addresses, nothing is changed and Pick is asked again.
	Pick func(*Attachment) error
}

// AddPort adds a port in one transaction and waits until ovs-vswitchd has given
// it a number. On any failure the port is not there, or, if the database can't
// be reached, the error says that it may be.
//
// The error is a *PortExistsError or an *AddressInUseError if the port stands
// against another one, and an *InterfaceError if ovs-vswitchd can't add it.
func (db *DB) AddPort(ctx context.Context, spec PortSpec) (Port, error) {
	port, err := db.addPort(ctx, spec)
	if err != nil {
		return Port{}, fmt.Errorf("add port %s to bridge %s: %w", spec.Name, spec.Bridge, err)
	}
	return port, nil
}

func (db *DB) addPort(ctx context.Context, spec PortSpec) (Port, error) {
	switch {
	case spec.Bridge == "":
		return Port{}, errors.New("field Bridge is empty")
	case spec.Name == "" || len(spec.Name) > 15:
		return Port{}, fmt.Errorf("field Name %q: want 1 to 15 bytes", spec.Name)
	}
	if err := db.insertPicked(ctx, &spec); err != nil {
		return Port{}, err
	}
	ofport, err := db.waitOFPort(ctx, spec.Name)
	if err != nil {
		return Port{}, errors.Join(err, db.undo(ctx, spec))
	}
	return Port{Bridge: spec.Bridge, Name: spec.Name, OFPort: ofport, Attachment: spec.Attachment}, nil
}

// insertPicked inserts the port with the attachment that Pick completes.
func (db *DB) insertPicked(ctx context.Context, spec *PortSpec) error {
	given := spec.Attachment
	for pick := 1; ; pick++ {
		if spec.Pick != nil {
			spec.Attachment = given
			if err := spec.Pick(&spec.Attachment); err != nil {
				return err
			}
		}
		if err := spec.Attachment.Validate(); err != nil {
			return err
		}
		err := db.insertPort(ctx, *spec)
		var inUse *AddressInUseError
		if spec.Pick == nil || pick == maxPicks || !errors.As(err, &inUse) {
			return err
		}
	}
}

// insertPort commits the port's rows. If it can't know whether it has, it
// finds out, or undoes it.
func (db *DB) insertPort(ctx context.Context, spec PortSpec) error {
	for tried := false; ; tried = true {
		s, err := db.fresh(ctx)
		if err != nil {
			if tried {
				return errors.Join(err, db.undo(ctx, spec))
			}
			return err
		}
		if row := (portRow{Name: spec.Name}); get(s, portTable, &row) {
			if tried && portOf(row, nil).Attachment.Equal(spec.Attachment) {
				return nil
			}
			return &PortExistsError{Name: spec.Name, Ours: ours(row.ExternalIDs)}
		}
		ops, guards, err := s.insertion(spec)
		if err != nil {
			return err
		}
		_, err = db.write(ctx, s, ops...)
		var refused *refusal
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused):
			if refused.op < len(guards) {
				return guards[refused.op]()
			}
			return err
		case ctx.Err() != nil:
			return errors.Join(err, db.undo(ctx, spec))
		case !errors.Is(err, errLost):
			return err
		}
	}
}

// insertion returns the transaction that adds a port. Its first operations are
// guards; what it means if one of them fails is in the function of the same
// index.
func (s *session) insertion(spec PortSpec) (ops []ovsdb.Operation, guards []func() error, err error) {
	guard := func(op ovsdb.Operation, failure func() error) {
		ops = append(ops, op)
		guards = append(guards, failure)
	}
	guard(require(bridgeTable, spec.Bridge), func() error { return fmt.Errorf("bridge %s does not exist", spec.Bridge) })
	guard(requireNone(portTable, spec.Name), func() error {
		row := portRow{Name: spec.Name}
		get(s, portTable, &row)
		return &PortExistsError{Name: spec.Name, Ours: ours(row.ExternalIDs)}
	})
	for _, addr := range spec.Addrs {
		guard(requireNoPortWith(addrID(addr), addr.String()), func() error {
			return &AddressInUseError{Addr: addr, Holder: s.holder(addrID(addr), addr.String())}
		})
	}
	iface, err := s.client.Create(&interfaceRow{UUID: "iface", Name: spec.Name, Type: spec.Type})
	if err != nil {
		return nil, nil, fmt.Errorf("interface row: %w", err)
	}
	port, err := s.client.Create(&portRow{
		UUID: "port", Name: spec.Name, Interfaces: []string{"iface"}, ExternalIDs: spec.ExternalIDs(),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("port row: %w", err)
	}
	return slices.Concat(ops, iface, port, []ovsdb.Operation{attachPort(spec.Bridge, "port")}), guards, nil
}

// waitOFPort waits until ovs-vswitchd has dealt with the interface.
func (db *DB) waitOFPort(ctx context.Context, name string) (ofport uint32, err error) {
	started := time.Now()
	err = db.await(ctx, func(s *session) (bool, error) {
		row := interfaceRow{Name: name}
		if !get(s, interfaceTable, &row) {
			return false, errors.New("the port was removed before it had an OpenFlow port number")
		}
		ofport, err = row.number()
		return ofport != 0, err
	})
	if err != nil && ctx.Err() != nil {
		return 0, fmt.Errorf("no OpenFlow port number within %s, is ovs-vswitchd running?: %w",
			time.Since(started).Round(time.Millisecond), err)
	}
	return ofport, err
}

// number returns the interface's OpenFlow port number, zero as long as
// ovs-vswitchd has not dealt with it.
func (r *interfaceRow) number() (uint32, error) {
	switch {
	case r.OFPort != nil && *r.OFPort > 0:
		return uint32(*r.OFPort), nil
	case r.OFPort != nil || r.Error != nil:
		reason := "no reason given"
		if r.Error != nil {
			reason = *r.Error
		}
		return 0, &InterfaceError{Name: r.Name, Reason: reason}
	}
	return 0, nil
}

// undo removes a port that was added but did not come up.
func (db *DB) undo(ctx context.Context, spec PortSpec) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := db.deletePort(ctx, spec.Name, func(p Port) bool { return p.Attachment.Equal(spec.Attachment) }); err != nil {
		return fmt.Errorf("the port may still be in the database: %w", err)
	}
	return nil
}
