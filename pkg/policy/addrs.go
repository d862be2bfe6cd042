package policy

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// AddrsOf returns the addresses that a pod anywhere in the cluster is reached
// at, sorted; none if it has none or is not known.
func (c *Compiler) AddrsOf(pod cluster.Key) []netip.Addr { return slices.Clone(c.claims[pod].addrs) }
