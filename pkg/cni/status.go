package cni

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// Status returns an error if pods can't be attached now: with code 51 if those
// that are attached may be affected too, else with code 50.
func (s *Server) Status(ctx context.Context, req wire.Request) error {
	conf, err := wire.ParseConfig(req.Config)
	if err != nil {
		return err
	}
	ctx, cancel := limit(ctx, conf)
	defer cancel()
	if !s.cfg.Ports.Connected() {
		return types.NewError(types.ErrLimitedConnectivity,
			"not connected to OVSDB: check that ovsdb-server and ovs-vswitchd run on this node", "")
	}
	if err := s.cfg.Enforcer.Ready(ctx); err != nil {
		var coded *types.Error
		if errors.As(err, &coded) {
			return coded
		}
		return types.NewError(types.ErrPluginNotAvailable, "policies cannot be enforced yet: "+err.Error(), "")
	}
	for _, u := range s.cfg.Pool.Usage() {
		if uint64(u.Used) >= u.Usable {
			return types.NewError(types.ErrPluginNotAvailable,
				fmt.Sprintf("podCIDR %s is exhausted: all %d addresses for pods are in use", u.CIDR, u.Usable), "")
		}
	}
	return nil
}
