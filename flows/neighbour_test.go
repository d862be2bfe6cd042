package flows_test

import (
	"fmt"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/trace"
)

// Where the bridge can't write an advertisement, solicitations reach whom they
// ask for, and nothing but a pod's own words passes.
func TestHostsAnswerNeighbourDiscoveryWhereTheBridgeCant(t *testing.T) {
	sb := sandboxtest.Start(t, sandbox.Dummy)
	p := flows.New()
	d := flows.Sample()
	d.Node.HostsAnswerND = true
	if _, err := p.Apply(d); err != nil {
		t.Fatal(err)
	}
	load(t, sb, p, "gw", "db", "api", "fresh")
	const (
		gw, db, api    = 1, 2, 3
		dbMAC, apiMAC  = "0a:58:0a:00:00:02", "0a:58:0a:00:00:03"
		gwMAC, strange = "0a:58:0a:00:00:01", "0a:58:0a:00:00:66"
		noMAC          = "00:00:00:00:00:00"
		apiLinkLocal   = "fe80::858:aff:fe00:3"
	)
	ns := func(in int, mac, src, target, sll string) string {
		return fmt.Sprintf("in_port=%d,icmp6,icmpv6_type=135,dl_src=%s,ipv6_src=%s,ipv6_dst=ff02::1:ff00:1,nw_ttl=255,nd_target=%s,nd_sll=%s", in, mac, src, target, sll)
	}
	na := func(in int, mac, src, dst, target, tll string) string {
		return fmt.Sprintf("in_port=%d,icmp6,icmpv6_type=136,dl_src=%s,ipv6_src=%s,ipv6_dst=%s,nw_ttl=255,nd_target=%s,nd_tll=%s", in, mac, src, dst, target, tll)
	}
	for _, c := range []struct {
		name, packet string
		out          uint32 // zero: dropped
	}{
		{"a pod asks for the gateway", ns(api, apiMAC, "fd00::3", "fd00::1", apiMAC), gw},
		{"from its link-local address", ns(api, apiMAC, apiLinkLocal, "fd00::1", apiMAC), gw},
		{"the node answers", na(gw, gwMAC, "fd00::1", "fd00::3", "fd00::1", gwMAC), api},
		{"also to the link-local address", na(gw, gwMAC, "fd00::1", apiLinkLocal, "fd00::1", gwMAC), api},
		{"the node asks for a pod", ns(gw, gwMAC, "fd00::1", "fd00::2", gwMAC), db},
		{"the pod answers", na(db, dbMAC, "fd00::2", "fd00::1", "fd00::2", dbMAC), gw},
		{"without its MAC", na(db, dbMAC, "fd00::2", "fd00::1", "fd00::2", noMAC), gw},
		{"a pod asks for another pod", ns(api, apiMAC, "fd00::3", "fd00::2", apiMAC), 0},
		{"a pod asks as another", ns(api, apiMAC, "fd00::2", "fd00::1", apiMAC), 0},
		{"a pod asks for another MAC", ns(api, apiMAC, "fd00::3", "fd00::1", strange), 0},
		{"a pod answers for another", na(api, apiMAC, "fd00::2", "fd00::1", "fd00::2", apiMAC), 0},
		{"a pod answers for the gateway", na(api, apiMAC, "fd00::3", "fd00::2", "fd00::1", apiMAC), 0},
		{"a pod answers with another's MAC", na(db, dbMAC, "fd00::2", "fd00::1", "fd00::2", strange), 0},
		{"a pod makes sure that an address is free", ns(api, apiMAC, "::", "fd00::1", noMAC), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, err := trace.RunFlow(t.Context(), sb.Vswitchd(), "br", c.packet, trace.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if c.out == 0 && !tr.Dropped || c.out != 0 && (len(tr.Outputs) != 1 || tr.Outputs[0] != c.out) {
				t.Errorf("leaves by %v, want %d\n%s", tr.Outputs, c.out, tr.Raw)
			}
		})
	}
}
