package nat

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/sluice-cni/sluice/ovs/conntrack"
	"github.com/sluice-cni/sluice/ovs/sandbox"
)

// Whatever a tracker makes an entry of can be cut, and that alone.
func TestConnectionsOfAllProtocolsCanBeRemoved(t *testing.T) {
	const flows = `
table=0,in_port=1,IP,actions=ct(table=1,zone=56)
table=1,priority=9,IP,ct_state=+trk+new,actions=set_field:1->nw_ttl,ct(commit,zone=56),output:2
`
	const zone = 56
	each(t, flows, func(t *testing.T, b *bed, f family, p layers.IPProtocol, portsKnown bool) {
		datapath := pick(sandbox.Dummy, sandbox.System)
		tracked := func() (out []conntrack.Tuple) {
			t.Helper()
			entries, err := conntrack.Dump(t.Context(), b.Vswitchd(), datapath, zone)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Orig.Protocol == uint8(p) && e.Orig.Src == f.client {
					out = append(out, e.Orig)
				}
			}
			return out
		}
		client, targets := at(f.client, 1000), []netip.AddrPort{at(f.first, 80), at(f.first, 81), at(f.second, 80)}
		left := len(targets)
		if !portsKnown {
			targets, left = targets[1:], 2
		}
		for _, to := range targets {
			check(t, b.forward(t, "a", "b", opening(p, client, to)), client, to, began)
		}
		for all := tracked(); left > 0; all = tracked() {
			if len(all) != left {
				t.Fatalf("%d are tracked, want %d: %v", len(all), left, all)
			}
			if err := conntrack.Flush(t.Context(), b.Vswitchd(), datapath, zone, all[0]); err != nil {
				t.Fatal(err)
			}
			left--
		}
		if all := tracked(); len(all) > 0 {
			t.Errorf("%v are left", all)
		}
	})
}
