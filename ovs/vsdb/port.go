package vsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Port is a pod's port as it stands in the database.
type Port struct {
	// Bridge is the name of the bridge the port belongs to.
	Bridge string
	// Name is the name of the port and of its interface.
	Name string
	// OFPort is the OpenFlow port number, 1 to 65279; zero as long as there is
	// none.
	OFPort uint32
	// Error is ovs-vswitchd's reason why there is no OFPort.
	Error string
	Attachment
	// Problem says what of the port's external_ids can't be read; the Attachment
	// holds the rest. It is nil unless somebody else has changed them.
	Problem error
}

// DeletePort removes a port. It is no error if there is none of that name; a
// port that is not Sluice's stays and the error is a *NotOursError.
func (db *DB) DeletePort(ctx context.Context, name string) error {
	if err := db.deletePort(ctx, name, func(Port) bool { return true }); err != nil {
		return fmt.Errorf("delete port %s: %w", name, err)
	}
	return nil
}

// deletePort removes the port if it is there and meant.
func (db *DB) deletePort(ctx context.Context, name string, meant func(Port) bool) error {
	for {
		s, err := db.fresh(ctx)
		if err != nil {
			return err
		}
		row := portRow{Name: name}
		if !get(s, portTable, &row) {
			return nil
		}
		if !ours(row.ExternalIDs) {
			return &NotOursError{Name: name}
		}
		if !meant(portOf(row, nil)) {
			return nil
		}
		if _, err := db.write(ctx, s, detachPort(row.UUID)); !errors.Is(err, errLost) {
			return err
		}
	}
}

// Ports returns all pods' ports, sorted by name. It holds what was committed
// before the call.
func (db *DB) Ports(ctx context.Context) ([]Port, error) {
	s, err := db.fresh(ctx)
	if err != nil {
		return nil, fmt.Errorf("list ports: %w", err)
	}
	return s.ports(), nil
}

// ports lists the pods' ports of the replica, sorted by name.
//
// The tables are read one after the other: a port added in between has no
// number yet, as it would have a moment before.
func (s *session) ports() []Port {
	interfaces := map[string]*interfaceRow{}
	for _, row := range list[interfaceRow](s, interfaceTable) {
		interfaces[row.UUID] = row
	}
	rows := list[portRow](s, portTable)
	bridgeOf := map[string]string{}
	for _, bridge := range list[bridgeRow](s, bridgeTable) {
		for _, port := range bridge.Ports {
			bridgeOf[port] = bridge.Name
		}
	}
	var ports []Port
	for _, row := range rows {
		bridge, attached := bridgeOf[row.UUID]
		if !attached || !ours(row.ExternalIDs) || len(row.Interfaces) == 0 {
			continue
		}
		port := portOf(*row, interfaces[row.Interfaces[0]])
		port.Bridge = bridge
		ports = append(ports, port)
	}
	slices.SortFunc(ports, func(a, b Port) int { return strings.Compare(a.Name, b.Name) })
	return ports
}

func portOf(row portRow, iface *interfaceRow) Port {
	port := Port{Name: row.Name}
	port.Attachment, port.Problem = ParseAttachment(row.ExternalIDs)
	if iface != nil {
		number, err := iface.number()
		port.OFPort = number
		var failed *InterfaceError
		if errors.As(err, &failed) {
			port.Error = failed.Reason
		}
	}
	return port
}

// holder returns the name of the port that has an external id.
func (s *session) holder(key, value string) string {
	for _, row := range list[portRow](s, portTable) {
		if row.ExternalIDs[key] == value {
			return row.Name
		}
	}
	return "(gone meanwhile)"
}
