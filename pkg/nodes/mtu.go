package nodes

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/pkg/route"
)

// What a tunnel takes of the uplink's MTU, in bytes: the outer IP header, UDP's
// 8, Geneve's or VXLAN's 8, and the 14 of the inner Ethernet header.
const (
	overhead4 = 20 + 8 + 8 + 14
	overhead6 = 40 + 8 + 8 + 14
)

const (
	// defaultMTU is the uplink's where none is found: Ethernet's.
	defaultMTU = 1500
	// minMTU6 is the least that IPv6 works with (RFC 8200 section 5).
	minMTU6 = 1280
	maxMTU  = 65535
)

// findUplink finds the interface with the first of the node's internal addresses
// that one has. Where nothing says which these are, it is the interface with the
// default route, or the only one, and the addresses are those of it. It returns
// the addresses.
func (p *Plan) findUplink(cfg Config, local Local, internal []netip.Addr) []netip.Addr {
	for _, a := range internal {
		for _, i := range local.Interfaces {
			if has(i, a) {
				p.Uplink = i
				return internal
			}
		}
	}
	at := slices.IndexFunc(local.Interfaces, func(i route.Interface) bool { return i.Default })
	if at < 0 && len(local.Interfaces) == 1 {
		at = 0
	}
	if at >= 0 {
		p.Uplink = local.Interfaces[at]
	}
	if len(internal) > 0 {
		p.problem(cfg.Node, "no interface has the InternalIP %s of this node", internal[0])
		return internal
	}
	var addrs []netip.Addr
	for _, s := range p.Uplink.Addrs {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// workOutMTU sets the MTU for pods: what is chosen, or what fits.
func (p *Plan) workOutMTU(cfg Config, own []netip.Addr) {
	fits := p.Uplink.MTU
	if fits == 0 {
		fits = defaultMTU
	}
	if cfg.Mode != NoEncap {
		over := overhead4
		if len(own) > 0 && !slices.ContainsFunc(own, netip.Addr.Is4) {
			over = overhead6
		}
		for _, r := range p.Remotes {
			if r.Tunnel.Is6() {
				over = overhead6
			}
		}
		fits -= over
	}
	fits = min(fits, maxMTU)
	p.MTU = cfg.MTU
	if p.MTU == 0 {
		p.MTU = fits
	}
	if p.MTU > fits && p.Uplink.Name != "" {
		p.problem(cfg.Node, "the configured MTU %d is more than the %d bytes that fit through %s", p.MTU, fits, p.Uplink.Name)
	}
	v6 := slices.ContainsFunc(p.PodCIDRs, func(c netip.Prefix) bool { return c.Addr().Is6() })
	if v6 && p.MTU < minMTU6 {
		p.problem(cfg.Node, "pods have an MTU of %d, and IPv6 works with %d or more only", p.MTU, minMTU6)
	}
}
