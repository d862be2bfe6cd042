package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/containernetworking/plugins/pkg/ns"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/netns"
)

// lab makes the references that traffic between pods is held against: hosts with
// the interfaces of pods, joined by the kernel's routes or by an Open vSwitch whose
// flows decide nothing.
type lab struct {
	ctx  context.Context
	made []*netns.Netns
}

// shape is what the interface of a pod is like.
type shape struct {
	mtu int
	// inSoftware has the pod compute checksums, as the userspace datapath needs it.
	inSoftware bool
}

func (l *lab) close() error {
	var errs []error
	for _, n := range l.made {
		errs = append(errs, n.Delete())
	}
	return errors.Join(errs...)
}

func (l *lab) netns(name string) (*netns.Netns, error) {
	n, err := netns.Create(filepath.Join(netns.Dir, "bench-"+name))
	if err == nil {
		l.made = append(l.made, n)
	}
	return n, err
}

// in runs a program in a namespace.
func (l *lab) in(n *netns.Netns, env []string, name string, args ...string) error {
	return n.Do(func() error {
		cmd := exec.CommandContext(l.ctx, name, args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
		}
		return nil
	})
}

// ip runs commands of ip(8) in a namespace, one after the other.
func (l *lab) ip(n *netns.Netns, commands ...[]string) error {
	for _, args := range commands {
		if err := l.in(n, nil, "ip", args...); err != nil {
			return err
		}
	}
	return nil
}

// wire joins two namespaces by a veth pair that has one name at both ends.
func (l *lab) wire(a, b *netns.Netns, name string) error {
	up := []string{"link", "set", name, "up"}
	return errors.Join(
		l.ip(a, []string{"link", "add", name, "mtu", "1500", "type", "veth", "peer", "name", name, "mtu", "1500", "netns", b.Path()}, up),
		l.ip(b, up))
}

// pod makes a host that is joined to a node as a pod is, by an interface of the
// node that bears the host's name.
func (l *lab) pod(node *netns.Netns, name, addr, gateway string, s shape) (*bed.Host, error) {
	space, err := l.netns(name)
	if err != nil {
		return nil, err
	}
	open, err := ns.GetNS(space.Path())
	if err != nil {
		return nil, err
	}
	defer open.Close()
	at := netip.MustParseAddr(addr)
	b := at.As4()
	link := podlink.Link{
		Host: name, Pod: "eth0", MAC: net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}, MTU: s.mtu,
		Addrs: []netip.Addr{at}, Gateways: []netip.Addr{netip.MustParseAddr(gateway)}, ChecksumInSoftware: s.inSoftware,
	}
	err = node.Do(func() error {
		if err := link.Create(open); err != nil {
			return err
		}
		return link.Configure(open)
	})
	return &bed.Host{Netns: space, Name: name, Addrs: []netip.Addr{at}}, err
}

// routed makes hosts behind kernels that route: one beside the first on its node,
// one on another node behind a veth pair.
func (l *lab) routed() (first, beside, across *bed.Host, err error) {
	var nodes [2]*netns.Netns
	for i := range nodes {
		if nodes[i], err = l.netns(fmt.Sprintf("router%d", i)); err != nil {
			return nil, nil, nil, err
		}
	}
	if err := l.wire(nodes[0], nodes[1], "wire"); err != nil {
		return nil, nil, nil, err
	}
	for i, n := range nodes {
		if err := errors.Join(
			n.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }),
			l.ip(n, []string{"addr", "add", fmt.Sprintf("198.51.100.%d/24", 1+i), "dev", "wire"},
				[]string{"route", "add", fmt.Sprintf("10.98.%d.0/24", 1-i), "via", fmt.Sprintf("198.51.100.%d", 2-i)}),
		); err != nil {
			return nil, nil, nil, err
		}
	}
	var hosts [3]*bed.Host
	for i, addr := range []string{"10.98.0.2", "10.98.0.3", "10.98.1.2"} {
		if hosts[i], err = l.routedPod(nodes[i/2], fmt.Sprintf("kernel%d", i), addr, fmt.Sprintf("10.98.%d.1", i/2)); err != nil {
			return nil, nil, nil, err
		}
	}
	return hosts[0], hosts[1], hosts[2], nil
}

// routedPod makes a host whose gateway is the kernel of its node.
func (l *lab) routedPod(node *netns.Netns, name, addr, gateway string) (*bed.Host, error) {
	h, err := l.pod(node, name, addr, gateway, shape{mtu: 1500})
	if err != nil {
		return nil, err
	}
	// The node is deaf on a pod's interface, but here it is the router.
	err = node.Do(func() error {
		for key, value := range map[string]string{"forwarding": "1", "arp_ignore": "0"} {
			if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv4/conf", name, key), []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
	return h, errors.Join(err, l.ip(node, []string{"addr", "add", gateway + "/32", "dev", name}, []string{"route", "add", addr, "dev", name}))
}

// patched makes a bridge of two ports, each of which gets what comes in by the
// other.
func (l *lab) patched(ovs *sandbox.Sandbox, node *netns.Netns, bridge string, ports ...[]string) error {
	args := []string{"add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=" + ovs.Datapath(), "fail_mode=secure"}
	for i, port := range ports {
		args = append(args, "--", "add-port", bridge, port[0], "--", "set", "interface", port[0], fmt.Sprintf("ofport_request=%d", i+1))
		args = append(args, port[1:]...)
	}
	if err := l.in(node, ovs.Env(), "ovs-vsctl", args...); err != nil {
		return err
	}
	return errors.Join(
		l.in(node, ovs.Env(), "ovs-ofctl", "add-flow", bridge, "in_port=1,actions=output:2"),
		l.in(node, ovs.Env(), "ovs-ofctl", "add-flow", bridge, "in_port=2,actions=output:1"))
}
