package simulate

import (
	"fmt"
	"net/netip"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// DefaultPodCIDRs are the ranges from which pods get addresses whose manifests
// give them none.
var DefaultPodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/64")}

// addresses says which pod has which address. The same pods entered in the same
// order get the same addresses.
type addresses struct {
	cidrs  []netip.Prefix
	owners map[netip.Addr]cluster.Key
	// next is where to look for a free address of each range; all below it are
	// taken.
	next []netip.Addr
}

func newAddresses(cidrs []netip.Prefix) *addresses {
	a := &addresses{cidrs: cidrs, owners: map[netip.Addr]cluster.Key{}}
	a.rewind()
	return a
}

// rewind starts to look from the address after the gateway's.
func (a *addresses) rewind() {
	a.next = a.next[:0]
	for _, c := range a.cidrs {
		a.next = append(a.next, gatewayOf(c).Next())
	}
}

// gatewayOf is the gateway's address in a range: its first usable one.
func gatewayOf(c netip.Prefix) netip.Addr { return c.Masked().Addr().Next() }

// claim gives a pod the addresses that its manifest states, all or none.
func (a *addresses) claim(pod cluster.Key, addrs []netip.Addr) error {
	for _, addr := range addrs {
		if owner, taken := a.owners[addr]; taken && owner != pod {
			return fmt.Errorf("Pod %s: status.podIPs: %s is the address of pod %s", pod, addr, owner)
		}
		for _, c := range a.cidrs {
			if addr == gatewayOf(c) {
				return fmt.Errorf("Pod %s: status.podIPs: %s is the simulated gateway's address", pod, addr)
			}
		}
	}
	for _, addr := range addrs {
		a.owners[addr] = pod
	}
	return nil
}

// take gives a pod a free address of each range.
func (a *addresses) take(pod cluster.Key) ([]netip.Addr, error) {
	var out []netip.Addr
	for i, c := range a.cidrs {
		addr := a.next[i]
		for _, taken := a.owners[addr]; taken; _, taken = a.owners[addr] {
			addr = addr.Next()
		}
		if !c.Contains(addr) {
			return nil, fmt.Errorf("Pod %s: no free address in %s", pod, c)
		}
		a.next[i] = addr.Next()
		a.owners[addr] = pod
		out = append(out, addr)
	}
	return out, nil
}

// release takes a pod's addresses back.
func (a *addresses) release(addrs []netip.Addr) {
	for _, addr := range addrs {
		delete(a.owners, addr)
	}
	a.rewind()
}
