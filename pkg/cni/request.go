package cni

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"

	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/ipam"
)

// cleanupTimeout bounds the taking back of a failed ADD, which has to happen
// when the request itself has no time left.
const cleanupTimeout = 10 * time.Second

// attachment names the attachment that a request is about.
type attachment struct {
	containerID, ifName string
	port                string // the name of its bridge port and of the host's end
}

// identify checks what names the attachment.
func identify(req wire.Request) (attachment, error) {
	if err := utils.ValidateContainerID(req.ContainerID); err != nil {
		return attachment{}, envError("CNI_CONTAINERID", err)
	}
	if err := utils.ValidateInterfaceName(req.IfName); err != nil {
		return attachment{}, envError("CNI_IFNAME", err)
	}
	return attachment{
		containerID: req.ContainerID,
		ifName:      req.IfName,
		port:        wire.PortName(req.ContainerID, req.IfName),
	}, nil
}

func envError(variable string, err error) error {
	return types.NewError(types.ErrInvalidEnvironmentVariables, variable+": "+err.Error(), "")
}

// limit gives a request three quarters of the time the plugin waits: what is left
// is for taking back and for the answer that says why.
func limit(ctx context.Context, conf *wire.Config) (context.Context, context.CancelFunc) {
	d := conf.Timeout * 3 / 4
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("gave up after %s: %w", d, context.DeadlineExceeded))
}

// cleanup returns a context that outlives the request's.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}

// find returns the record of a port, nil if there is none.
func (s *Server) find(ctx context.Context, name string) (*vsdb.Port, error) {
	ports, err := s.cfg.Ports.Ports(ctx)
	if err != nil {
		return nil, err
	}
	for i := range ports {
		if ports[i].Name == name {
			return &ports[i], nil
		}
	}
	return nil, nil
}

// link describes the veth pair of a port.
func (s *Server) link(port string, a vsdb.Attachment, mtu int) *podlink.Link {
	return &podlink.Link{
		Host:               port,
		Pod:                a.IfName,
		MAC:                a.MAC,
		MTU:                mtu,
		Addrs:              a.Addrs,
		Gateways:           s.gateways(),
		ChecksumInSoftware: s.cfg.ChecksumInSoftware,
	}
}

// gateways returns the pods' next hop of each podCIDR.
func (s *Server) gateways() []netip.Addr {
	var gateways []netip.Addr
	for _, u := range s.cfg.Pool.Usage() {
		gateways = append(gateways, ipam.Gateway(u.CIDR))
	}
	return gateways
}

func (s *Server) mtu(conf *wire.Config) int {
	if conf.MTU != 0 {
		return conf.MTU
	}
	return s.cfg.MTU()
}

// cniError makes a CNI error of one that happened while doing what step says. It
// keeps the code of a CNI error inside; what ran out, time or addresses, is 11, try
// again later; for the rest code says what the runtime should think.
func cniError(step string, code uint, err error) *types.Error {
	var (
		coded *types.Error
		full  *ipam.ExhaustedError
	)
	switch {
	case errors.As(err, &coded):
		code = coded.Code
	case errors.As(err, &full), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		code = types.ErrTryAgainLater
	}
	return types.NewError(code, step+": "+err.Error(), "")
}
