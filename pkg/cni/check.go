package cni

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// Check compares what is there of an attachment with what ADD answered: the
// record, the link with its addresses and routes, the port, its isolation. A
// difference is an error with the code wire.CodeNotAsAdded.
func (s *Server) Check(ctx context.Context, req wire.Request) error {
	conf, err := wire.ParseConfig(req.Config)
	if err != nil {
		return err
	}
	stored, err := conf.PrevResult()
	if err != nil {
		return err
	}
	prev, err := types100.GetResult(stored)
	if err != nil {
		return types.NewError(types.ErrDecodingFailure, "network configuration: prevResult: "+err.Error(), "")
	}
	id, err := identify(req)
	if err != nil {
		return err
	}
	netns, err := podlink.Open(req.Netns)
	if err != nil {
		return types.NewError(types.ErrInvalidNetNS, "CNI_NETNS: "+err.Error(), "")
	}
	defer netns.Close()
	ctx, cancel := limit(ctx, conf)
	defer cancel()

	step := fmt.Sprintf("checking interface %s of container %s", id.ifName, id.containerID)
	unlock, err := s.attachments.lock(ctx, id.port)
	if err != nil {
		return cniError(step, types.ErrInternal, err)
	}
	defer unlock()
	port, err := s.find(ctx, id.port)
	if err != nil {
		return cniError(step, types.ErrInternal, err)
	}
	if err := s.checkRecord(id, port, prev); err != nil {
		return notAsAdded(step, err)
	}
	link := s.link(id.port, port.Attachment, prev.Interfaces[podInterface(prev, id.ifName)].Mtu)
	link.Gateways = gatewaysOf(prev) // those of then, should the podCIDR have changed
	if err := link.Check(netns); err != nil {
		return notAsAdded(step, err)
	}
	if err := s.cfg.Enforcer.CheckPort(ctx, id.port); err != nil {
		if ctx.Err() != nil {
			return cniError(step, types.ErrInternal, err)
		}
		return notAsAdded(step, fmt.Errorf("isolation of port %s: %w", id.port, err))
	}
	return nil
}

func notAsAdded(step string, err error) error {
	return types.NewError(wire.CodeNotAsAdded, step+": "+err.Error(), "recreate the pod's sandbox")
}

// checkRecord compares the port with the result of ADD, to which later plugins
// may have added.
func (s *Server) checkRecord(id attachment, port *vsdb.Port, prev *types100.Result) error {
	switch {
	case port == nil:
		return fmt.Errorf("port %s is not in OVSDB", id.port)
	case port.Problem != nil:
		return fmt.Errorf("port %s: external_ids: %w", id.port, port.Problem)
	case port.Bridge != s.cfg.Bridge:
		return fmt.Errorf("port %s is on bridge %s instead of %s", id.port, port.Bridge, s.cfg.Bridge)
	case port.OFPort == 0:
		return fmt.Errorf("port %s has no OpenFlow port number: %s", id.port, port.Error)
	}
	pod := podInterface(prev, id.ifName)
	if pod < 0 {
		return fmt.Errorf("prevResult has no interface %s", id.ifName)
	}
	var given []netip.Addr
	for _, ip := range prev.IPs {
		if ip.Interface == nil || *ip.Interface == pod {
			if addr, ok := netip.AddrFromSlice(ip.Address.IP); ok {
				given = append(given, addr.Unmap())
			}
		}
	}
	for _, addr := range port.Addrs {
		if !slices.Contains(given, addr) {
			return fmt.Errorf("port %s has address %s, which is not in prevResult", id.port, addr)
		}
	}
	return nil
}

func gatewaysOf(r *types100.Result) []netip.Addr {
	var gateways []netip.Addr
	for _, ip := range r.IPs {
		if gw, ok := netip.AddrFromSlice(ip.Gateway); ok {
			gateways = append(gateways, gw.Unmap())
		}
	}
	return gateways
}

// podInterface returns the index of the pod's interface in a result, or -1.
func podInterface(r *types100.Result, ifName string) int {
	return slices.IndexFunc(r.Interfaces, func(i *types100.Interface) bool {
		return i != nil && i.Name == ifName && i.Sandbox != ""
	})
}
