package cni

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/pkg/ns"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/ipam"
)

// Add attaches a pod and returns the result in the version that the
// configuration asks for. If it fails, nothing of the attachment is left, or the
// error says what may be.
//
// For an attachment that is there already, as the runtime describes it and in
// order, it returns the result again: a runtime that did not get the first answer
// asks once more. One that is there but differs is replaced.
func (s *Server) Add(ctx context.Context, req wire.Request) (json.RawMessage, error) {
	conf, err := wire.ParseConfig(req.Config)
	if err != nil {
		return nil, err
	}
	if conf.Name != s.cfg.Network {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf(
			"network configuration: name: %q is not the network that the agent serves, %q", conf.Name, s.cfg.Network), "")
	}
	id, err := identify(req)
	if err != nil {
		return nil, err
	}
	args, err := ParseArgs(req.Args)
	if err != nil {
		return nil, err
	}
	netns, err := podlink.Open(req.Netns)
	if err != nil {
		return nil, types.NewError(types.ErrInvalidNetNS, "CNI_NETNS: "+err.Error(), "")
	}
	defer netns.Close()
	ctx, cancel := limit(ctx, conf)
	defer cancel()

	pod := pod{
		port: id.port,
		Attachment: vsdb.Attachment{
			PodNamespace: args.PodNamespace,
			PodName:      args.PodName,
			PodUID:       args.PodUID,
			ContainerID:  id.containerID,
			IfName:       id.ifName,
			Netns:        req.Netns,
		},
		netns: netns,
		mtu:   s.mtu(conf),
	}
	port, err := s.attach(ctx, pod)
	if err != nil {
		return nil, cniError(fmt.Sprintf("attaching pod %s/%s", args.PodNamespace, args.PodName), types.ErrInternal, err)
	}
	klog.FromContext(ctx).Info("Attached a pod", "pod", klog.KRef(args.PodNamespace, args.PodName),
		"port", port.Name, "ofport", port.OFPort, "addresses", port.Addrs)
	return s.result(conf, port, pod.mtu)
}

// pod is what ADD knows of a pod before it has an address.
type pod struct {
	port string
	vsdb.Attachment
	netns ns.NetNS
	mtu   int
}

func (s *Server) attach(ctx context.Context, p pod) (vsdb.Port, error) {
	unlock, err := s.attachments.lock(ctx, p.port)
	if err != nil {
		return vsdb.Port{}, fmt.Errorf("waiting for another command on port %s: %w", p.port, err)
	}
	defer unlock()
	old, err := s.find(ctx, p.port)
	switch {
	case err != nil:
		return vsdb.Port{}, err
	case old == nil:
		return s.attachNew(ctx, p)
	case s.intact(old, p):
		return *old, s.cfg.Enforcer.SetPort(ctx, *old)
	}
	if err := s.remove(ctx, p.port); err != nil {
		return vsdb.Port{}, fmt.Errorf("removing an earlier attachment: %w", err)
	}
	return s.attachNew(ctx, p)
}

// intact reports whether a port is the one that the pod would get now.
func (s *Server) intact(old *vsdb.Port, p pod) bool {
	if old.Problem != nil || old.OFPort == 0 || old.Bridge != s.cfg.Bridge {
		return false
	}
	p.MAC, p.Addrs = old.MAC, old.Addrs
	return p.Attachment.Equal(old.Attachment) && s.link(p.port, p.Attachment, p.mtu).Check(p.netns) == nil
}

// attachNew makes the parts of an attachment, or none.
func (s *Server) attachNew(ctx context.Context, p pod) (port vsdb.Port, err error) {
	takeBack := podlink.Delete
	defer func() {
		if err != nil {
			if failed := takeBack(p.port); failed != nil {
				err = fmt.Errorf("%w; taking it back: %w", err, failed)
			}
		}
	}()

	port, err = s.addPort(ctx, p)
	var inUse *vsdb.AddressInUseError
	if errors.As(err, &inUse) {
		// The pool knows too little: somebody else has written records.
		if err := s.syncPool(ctx); err != nil {
			return vsdb.Port{}, err
		}
		port, err = s.addPort(ctx, p)
	}
	if err != nil {
		return vsdb.Port{}, err
	}
	takeBack = func(port string) error {
		ctx, cancel := cleanup(ctx)
		defer cancel()
		return s.remove(ctx, port)
	}
	if err := s.link(p.port, port.Attachment, p.mtu).Configure(p.netns); err != nil {
		return vsdb.Port{}, err
	}
	if err := s.cfg.Enforcer.SetPort(ctx, port); err != nil {
		return vsdb.Port{}, fmt.Errorf("isolating port %s: %w", p.port, err)
	}
	return port, nil
}

// addPort makes the pair and the record. If it fails there may be a pair.
func (s *Server) addPort(ctx context.Context, p pod) (vsdb.Port, error) {
	var addrs *ipam.Reservation
	port, err := s.cfg.Ports.AddPort(ctx, vsdb.PortSpec{
		Bridge:     s.cfg.Bridge,
		Name:       p.port,
		Attachment: p.Attachment,
		// The addresses decide the MAC, and ovs-vswitchd looks for the device as soon
		// as the record is there: the pair is made between the two.
		Pick: func(a *vsdb.Attachment) (err error) {
			addrs.Release() // those of a try before have turned out to be in use
			if addrs, err = s.cfg.Pool.Allocate(p.port); err != nil {
				return err
			}
			a.Addrs = addrs.Addrs()
			a.MAC = MAC(a.Addrs[0])
			return s.create(p, *a)
		},
	})
	if err != nil {
		addrs.Release()
		return vsdb.Port{}, err
	}
	addrs.Commit()
	return port, nil
}

func (s *Server) create(p pod, a vsdb.Attachment) error {
	err := s.link(p.port, a, p.mtu).Create(p.netns)
	if errors.Is(err, podlink.ErrPodInterfaceExists) {
		return types.NewError(types.ErrInvalidEnvironmentVariables, "CNI_IFNAME: "+err.Error(), "")
	}
	return err
}

// MAC derives a pod's Ethernet address, locally administered and unicast, from
// its first address, so that an address that is used again by another pod leaves
// no neighbour with a wrong entry. An IPv4 address can be read in it.
func MAC(addr netip.Addr) net.HardwareAddr {
	tail := addr.AsSlice()
	if addr.Is6() {
		sum := sha256.Sum256(tail)
		tail = sum[:4]
	}
	return append(net.HardwareAddr{0x0a, 0x58}, tail...)
}
