package vsdb

import (
	"fmt"
	"net/netip"
)

// PortExistsError says that a port could not be added because the database has
// one of that name. Nothing was changed.
type PortExistsError struct {
	Name string
	// Ours is false if the port is not one of Sluice's.
	Ours bool
}

func (e *PortExistsError) Error() string {
	if !e.Ours {
		return fmt.Sprintf("port %s exists and is not Sluice's", e.Name)
	}
	return fmt.Sprintf("port %s exists", e.Name)
}

// AddressInUseError says that a port could not be added because the port Holder
// has one of its addresses. Nothing was changed.
type AddressInUseError struct {
	Addr   netip.Addr
	Holder string
}

func (e *AddressInUseError) Error() string {
	return fmt.Sprintf("address %s is in use by port %s", e.Addr, e.Holder)
}

// NotOursError says that a port was left alone because it is not Sluice's.
type NotOursError struct {
	Name string
}

func (e *NotOursError) Error() string {
	return fmt.Sprintf("port %s is not Sluice's: it has no external_ids of %s*; left as it is", e.Name, IDPrefix)
}

// InterfaceError is ovs-vswitchd's reason not to add an interface: the error
// column of its row.
type InterfaceError struct {
	Name   string
	Reason string
}

func (e *InterfaceError) Error() string {
	return fmt.Sprintf("ovs-vswitchd could not add interface %s: %s", e.Name, e.Reason)
}
