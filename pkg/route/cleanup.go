package route

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// Cleanup takes away what this package has set up in the node's network stack:
// the nftables tables, the routes of Protocol, and the gateway's addresses with the
// routes that follow from them. What is gone already is no error. Forwarding
// stays on: others may need it by now.
func Cleanup(ctx context.Context, gateway string) error {
	var errs []error
	if err := removeTable(ctx, Table); err != nil {
		errs = append(errs, fmt.Errorf("remove nftables table inet %s: %w", Table, err))
	}
	if _, err := SetRoutes(nil); err != nil {
		errs = append(errs, err)
	}
	if err := RemoveServices(ctx); err != nil {
		errs = append(errs, err)
	}
	link, err := netlink.LinkByName(gateway)
	switch {
	case errors.As(err, new(netlink.LinkNotFoundError)):
	case err != nil:
		errs = append(errs, fmt.Errorf("find gateway %s: %w", gateway, err))
	default:
		if err := (Gateway{Name: gateway}).ensureAddrs(link); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
