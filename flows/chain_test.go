package flows_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/trace"
)

// load puts all flows of a pipeline on a new bridge of the sandbox.
func load(t *testing.T, sb *sandbox.Sandbox, p *flows.Pipeline, ports ...string) {
	t.Helper()
	args := []string{"--db=" + sb.Endpoint(), "add-br", "br", "--",
		"set", "bridge", "br", "datapath_type=dummy", "fail_mode=secure", "protocols=OpenFlow15"}
	for i, port := range ports {
		args = append(args, "--", "add-port", "br", port, "--", "set", "interface", port, "type=dummy", fmt.Sprintf("ofport_request=%d", i+1))
	}
	sandboxtest.Run(t, sb, "ovs-vsctl", args...)
	addFlows(t, sb, p)
}

// addFlows gives the bridge br a pipeline's groups and flows.
func addFlows(t *testing.T, sb *sandbox.Sandbox, p *flows.Pipeline) {
	t.Helper()
	var groups, in strings.Builder
	for g := range p.Groups() {
		fmt.Fprintln(&groups, groupText(g))
	}
	sandboxtest.RunInput(t, sb, groups.String(), "ovs-ofctl", "-O", "OpenFlow15", "add-groups", "br", "-")
	for f := range p.Flows() {
		text, err := f.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&in, "add %s\n", text)
	}
	sandboxtest.RunInput(t, sb, in.String(), "ovs-ofctl", "-O", "OpenFlow15", "--bundle", "add-flows", "br", "-")
}

// groupText is a group as ovs-ofctl reads it.
func groupText(g *flows.Group) string {
	method := map[flows.Selection]string{
		flows.SelectByDatapath: ",selection_method=dp_hash", flows.SelectByConnection: ",selection_method=hash", flows.SelectBySource: ",selection_method=hash,fields(ip_src,ipv6_src)",
	}
	var b strings.Builder
	fmt.Fprintf(&b, "group_id=%d,type=select%s", g.ID, method[g.Selection])
	for _, k := range g.Buckets {
		fmt.Fprintf(&b, ",bucket=bucket_id:%d,weight:%d,actions=", k.ID, k.Weight)
		for i, a := range k.Actions {
			text, err := a.MarshalText()
			if err != nil {
				panic(err)
			}
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(text)
		}
	}
	return b.String()
}

// A pod may have more rules than fit on a page: the switch asks page after page,
// and names the rule that let a packet pass.
func TestRulesBeyondOnePageAreAllAsked(t *testing.T) {
	sb := sandboxtest.Start(t, sandbox.Dummy)
	p := flows.New()
	d := flows.Sample()
	d.Rules = nil
	const rules = 1000
	for i := range rules {
		key := flows.RuleKey(fmt.Sprintf("NetworkPolicy/shop/p%d/ingress/0", i))
		d.Rules = append(d.Rules, flows.RuleChange{Key: key, Rule: &flows.Rule{
			Direction: flows.Ingress, Tier: flows.TierNetworkPolicy, Subjects: []flows.Term{1}, Peers: []flows.Term{6},
			Services: []flows.Service{{Protocol: flows.TCP, Port: uint16(1000 + i)}},
		}})
	}
	d.Ports[1].Port.Subject[flows.Egress] = flows.Subject{}
	if _, err := p.Apply(d); err != nil {
		t.Fatal(err)
	}
	load(t, sb, p, "gw", "db", "api", "fresh")
	for _, i := range []int{0, 1, 127, 128, 500, rules - 1, rules} {
		tr, err := trace.Run(t.Context(), sb.Vswitchd(), "br", trace.Packet{
			InPort: 3, SrcMAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 3}, DstMAC: net.HardwareAddr{0x0a, 0x58, 10, 0, 0, 1},
			Src: netip.MustParseAddr("10.0.0.3"), Dst: netip.MustParseAddr("10.0.0.2"), Protocol: flows.TCP, SrcPort: 40000, DstPort: uint16(1000 + i), TCPFlags: trace.SYN,
		}, trace.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if passes := !tr.Dropped; passes != (i < rules) {
			t.Errorf("port %d: passes %v, want %v\n%s", 1000+i, passes, i < rules, tr.Raw)
			continue
		}
		if i == rules {
			continue
		}
		id, _ := p.RuleID(flows.Ingress, flows.RuleKey(fmt.Sprintf("NetworkPolicy/shop/p%d/ingress/0", i)))
		if !strings.Contains(tr.Raw, fmt.Sprintf("conj_id=%d,", id)) {
			t.Errorf("port %d: not by conjunction %d\n%s", 1000+i, id, tr.Raw)
		}
	}
}
