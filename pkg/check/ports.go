package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/enforce"
	"github.com/sluice-cni/sluice/pkg/ipam"
	"github.com/sluice-cni/sluice/pkg/policy"
	"github.com/sluice-cni/sluice/pkg/route"
)

// An attachment that is being made or taken away is whole a moment later: a fault
// counts if it is still there after looking portLooks times, portWait apart.
const (
	portLooks = 3
	portWait  = 300 * time.Millisecond
)

// ports looks at both ends of each attachment and what joins them.
func (c *Checker) ports(ctx context.Context) result {
	s, none := c.setup()
	if none != nil {
		return *none
	}
	var faults map[string]portFault
	var n int
	for look := range portLooks {
		now, all, err := c.portFaults(ctx, s)
		if err != nil {
			return fail("see the check ovsdb", "%v", err)
		}
		n = all
		for name := range faults {
			if _, still := now[name]; !still {
				delete(faults, name)
			}
		}
		if look == 0 {
			faults = now
		}
		if len(faults) == 0 {
			return ok("%d pods' ports, each with its veth pair, its pod's namespace and its number", n)
		}
		if look < portLooks-1 {
			select {
			case <-time.After(portWait):
			case <-ctx.Done():
				return fail("", "ports: %v", context.Cause(ctx))
			}
		}
	}
	var found []string
	harmless := true
	for _, f := range faults {
		found = append(found, f.text)
		harmless = harmless && f.harmless
	}
	slices.Sort(found)
	r := fault("recreate the pods that are named: kubectl delete pod", found)
	if harmless {
		r.status = "warn"
	}
	return r
}

type portFault struct {
	text string
	// harmless is true if the pod is reached all the same.
	harmless bool
}

// portFaults looks at all ports once; the faults are by port.
func (c *Checker) portFaults(ctx context.Context, s Setup) (map[string]portFault, int, error) {
	ports, err := c.cfg.DB.Ports(ctx)
	if err != nil {
		return nil, 0, err
	}
	var known map[string]policy.LocalPort
	err = c.cfg.Enforcer.Look(ctx, func(v enforce.View) {
		known = make(map[string]policy.LocalPort, len(v.Ports()))
		for name, p := range v.Ports() {
			known[name] = p
		}
	})
	if err != nil {
		return nil, 0, err
	}
	mtu := s.Plan.MTU
	if conf, err := c.plugin(); err == nil && conf.MTU != 0 {
		mtu = conf.MTU
	}
	faults := map[string]portFault{}
	there := map[string]bool{}
	for _, p := range ports {
		there[p.Name] = true
		if p.Bridge != c.cfg.Agent.Bridge {
			continue
		}
		err, harmless := portFaultOf(p, s), false
		if err == nil {
			harmless, err = mtuFault(p, s, mtu)
		}
		if told, ok := known[p.Name]; err == nil && (!ok || told.OFPort != p.OFPort) {
			err = errors.New("the enforcer does not know it")
		}
		if err != nil {
			faults[p.Name] = portFault{fmt.Sprintf("port %s of pod %s/%s: %v", p.Name, p.PodNamespace, p.PodName, err), harmless}
		}
	}
	for name := range known {
		if !there[name] {
			faults[name] = portFault{text: fmt.Sprintf("port %s of pod %s: is not in the database", name, known[name].Pod)}
			there[name] = true
		}
	}
	links, err := route.Dump(netlink.LinkList)
	if err != nil {
		return nil, 0, fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		if name := l.Attrs().Name; wire.IsPortName(name) && l.Type() == "veth" && !there[name] {
			faults[name] = portFault{text: fmt.Sprintf("interface %s: is the host's end of a pod's veth pair, and no port of bridge %s has it", name, c.cfg.Agent.Bridge)}
		}
	}
	return faults, len(ports), nil
}

// portFaultOf compares one attachment with what ADD makes.
func portFaultOf(p vsdb.Port, s Setup) error {
	switch {
	case p.Problem != nil:
		return fmt.Errorf("external_ids: %w", p.Problem)
	case p.OFPort == 0:
		return fmt.Errorf("has no OpenFlow port number: %s", p.Error)
	}
	netns, err := podlink.Open(p.Netns)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network namespace %s of container %s is gone", p.Netns, p.ContainerID)
	} else if err != nil {
		return fmt.Errorf("network namespace %s: %w", p.Netns, err)
	}
	defer netns.Close()
	return linkOf(p, s, 0).Check(netns)
}

// mtuFault is what is amiss with the MTU of a pair that is else as it should be.
// Packets of a pod with a smaller one pass.
func mtuFault(p vsdb.Port, s Setup, mtu int) (harmless bool, err error) {
	host, err := netlink.LinkByName(p.Name)
	if err != nil {
		return false, fmt.Errorf("interface %s of the host: %w", p.Name, err)
	}
	if is := host.Attrs().MTU; is != mtu {
		return is < mtu, fmt.Errorf("interface %s of the host has an MTU of %d instead of %d bytes", p.Name, is, mtu)
	}
	netns, err := podlink.Open(p.Netns)
	if err != nil {
		return false, fmt.Errorf("network namespace %s: %w", p.Netns, err)
	}
	defer netns.Close()
	return false, linkOf(p, s, mtu).Check(netns)
}

func linkOf(p vsdb.Port, s Setup, mtu int) *podlink.Link {
	link := &podlink.Link{Host: p.Name, Pod: p.IfName, MAC: p.MAC, MTU: mtu, Addrs: p.Addrs}
	for _, cidr := range s.PodCIDRs {
		link.Gateways = append(link.Gateways, ipam.Gateway(cidr))
	}
	return link
}
