package flows

import (
	"fmt"
	"net/netip"
)

func (p *Pipeline) validate(d *Delta) error {
	if d.Node == nil && p.node == nil && !d.Empty() {
		return fmt.Errorf("delta: node: the pipeline must know its node first")
	}
	if n := d.Node; n != nil {
		if n.GatewayOFPort < 1 || n.GatewayOFPort > maxOFPort {
			return fmt.Errorf("node: gateway ofport %d is not in 1-%d", n.GatewayOFPort, maxOFPort)
		}
		if len(n.GatewayMAC) != 6 {
			return fmt.Errorf("node: gateway MAC %q is not an Ethernet address", n.GatewayMAC)
		}
	}
	if err := p.validateRemotes(d.Remotes); err != nil {
		return err
	}
	if err := p.validatePorts(d.Ports); err != nil {
		return err
	}
	if err := p.validateBalancers(d.Balancers); err != nil {
		return err
	}
	for _, c := range d.Blocks {
		if c.Block == nil {
			continue
		}
		for _, e := range append([]netip.Prefix{c.Block.CIDR}, c.Block.Except...) {
			if !e.IsValid() {
				return fmt.Errorf("block of %s term %d: prefix %v is not valid", c.Direction, c.Term, e)
			}
		}
	}
	for _, c := range d.Rules {
		if c.Rule == nil {
			continue
		}
		if len(c.Rule.Subjects) == 0 {
			return fmt.Errorf("rule %s: no subjects", c.Key)
		}
		if c.Rule.AnyPeer && len(c.Rule.Peers) > 0 {
			return fmt.Errorf("rule %s: any peer and named peers at once", c.Key)
		}
		if c.Rule.Tier != TierNetworkPolicy {
			return fmt.Errorf("rule %s: tier %d is unknown", c.Key, c.Rule.Tier)
		}
		for _, s := range c.Rule.Services {
			if s.Protocol != TCP && s.Protocol != UDP && s.Protocol != SCTP {
				return fmt.Errorf("rule %s: protocol %d has no ports", c.Key, s.Protocol)
			}
			if s.EndPort != 0 && s.EndPort < s.Port {
				return fmt.Errorf("rule %s: port range %d-%d ends before it begins", c.Key, s.Port, s.EndPort)
			}
		}
	}
	return nil
}

func (p *Pipeline) validateRemotes(changes []RemoteChange) error {
	cidrs := map[netip.Prefix]string{}
	changed := map[string]bool{}
	for _, c := range changes {
		changed[c.Name] = true
	}
	if len(changes) > 0 {
		for name, r := range p.remotes {
			for _, cidr := range r.PodCIDRs {
				if !changed[name] {
					cidrs[cidr.Masked()] = name
				}
			}
		}
	}
	for _, c := range changes {
		if c.Remote == nil {
			continue
		}
		if !c.Remote.Tunnel.IsValid() {
			return fmt.Errorf("remote %s: no tunnel address", c.Name)
		}
		for _, cidr := range c.Remote.PodCIDRs {
			if !cidr.IsValid() {
				return fmt.Errorf("remote %s: pod range %v is not valid", c.Name, cidr)
			}
			if other, taken := cidrs[cidr.Masked()]; taken {
				return fmt.Errorf("remote %s: pod range %s is remote %s's", c.Name, cidr, other)
			}
			cidrs[cidr.Masked()] = c.Name
		}
	}
	return nil
}

func (p *Pipeline) validatePorts(changes []PortChange) error {
	changed := make(map[string]bool, len(changes))
	for _, c := range changes {
		changed[c.Name] = true
	}
	// Two ports with one number or address would share flows: what is right for
	// one could let the other through.
	ofports, addrs := map[uint32]string{}, map[netip.Addr]string{}
	if len(changes) > 0 {
		for name, pt := range p.ports {
			if changed[name] {
				continue
			}
			ofports[pt.OFPort] = name
			for _, a := range pt.Addrs {
				addrs[a] = name
			}
		}
	}
	for _, c := range changes {
		if c.Port == nil {
			continue
		}
		if c.Port.OFPort < 1 || c.Port.OFPort > maxOFPort {
			return fmt.Errorf("port %s: ofport %d is not in 1-%d", c.Name, c.Port.OFPort, maxOFPort)
		}
		if len(c.Port.MAC) != 6 {
			return fmt.Errorf("port %s: MAC %q is not an Ethernet address", c.Name, c.Port.MAC)
		}
		if other, taken := ofports[c.Port.OFPort]; taken {
			return fmt.Errorf("port %s: ofport %d is port %s's", c.Name, c.Port.OFPort, other)
		}
		ofports[c.Port.OFPort] = c.Name
		for _, a := range c.Port.Addrs {
			if other, taken := addrs[a]; taken {
				return fmt.Errorf("port %s: address %s is port %s's", c.Name, a, other)
			}
			addrs[a] = c.Name
		}
	}
	return nil
}

// maxOFPort is the highest number OVS gives a port.
const maxOFPort = 65279
