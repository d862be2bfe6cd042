package cni

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// result describes an attachment in the version of the configuration.
func (s *Server) result(conf *wire.Config, port vsdb.Port, mtu int) (json.RawMessage, error) {
	link := s.link(port.Name, port.Attachment, mtu)
	r := &types100.Result{
		CNIVersion: types100.ImplementedSpecVersion,
		Interfaces: []*types100.Interface{
			{Name: port.Name, Mac: link.HostMAC().String(), Mtu: mtu},
			{Name: port.IfName, Mac: port.MAC.String(), Mtu: mtu, Sandbox: port.Netns},
		},
		DNS: conf.DNS,
	}
	for _, addr := range link.Addrs {
		gw, err := link.Gateway(addr)
		if err != nil {
			return nil, err
		}
		r.IPs = append(r.IPs, &types100.IPConfig{
			Interface: types100.Int(1),
			Address:   prefix(addr, addr.BitLen()),
			Gateway:   gw.AsSlice(),
		})
		r.Routes = append(r.Routes,
			&types.Route{Dst: prefix(gw, gw.BitLen()), Scope: types100.Int(unix.RT_SCOPE_LINK)},
			&types.Route{Dst: prefix(unspecified(addr), 0), GW: gw.AsSlice()})
	}
	converted, err := r.GetAsVersion(conf.CNIVersion)
	if err != nil {
		return nil, types.NewError(types.ErrIncompatibleCNIVersion,
			fmt.Sprintf("result cannot be told in CNI version %s", conf.CNIVersion), err.Error())
	}
	raw, err := json.Marshal(converted)
	if err != nil {
		return nil, fmt.Errorf("encoding the result: %w", err)
	}
	return raw, nil
}

func prefix(addr netip.Addr, bits int) net.IPNet {
	return net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
}

func unspecified(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
