package nodes

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/route"
)

// nodeOf reads "NAME AGE RANGES ADDRESSES", the latter two lists with commas or
// "-".
func nodeOf(t *testing.T, line string) *cluster.Node {
	t.Helper()
	f := strings.Fields(line)
	if len(f) != 4 {
		t.Fatalf("node %q: want 4 fields", line)
	}
	n := &cluster.Node{Name: f[0]}
	var err error
	if n.Created, err = strconv.ParseInt(f[1], 10, 64); err != nil {
		t.Fatal(err)
	}
	for _, s := range list(f[2]) {
		n.PodCIDRs = append(n.PodCIDRs, netip.MustParsePrefix(s))
	}
	for _, s := range list(f[3]) {
		n.Internal = append(n.Internal, netip.MustParseAddr(s))
	}
	return n
}

func list(s string) []string {
	if s == "-" || s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// localOf reads interfaces "NAME MTU SUBNETS [default]".
func localOf(t *testing.T, cidrs string, lines []string) Local {
	t.Helper()
	var l Local
	for _, s := range list(cidrs) {
		l.PodCIDRs = append(l.PodCIDRs, netip.MustParsePrefix(s))
	}
	for _, line := range lines {
		f := strings.Fields(line)
		i := route.Interface{Name: f[0], Default: len(f) > 3}
		var err error
		if i.MTU, err = strconv.Atoi(f[1]); err != nil {
			t.Fatal(err)
		}
		for _, s := range list(f[2]) {
			i.Addrs = append(i.Addrs, netip.MustParsePrefix(s))
		}
		l.Interfaces = append(l.Interfaces, i)
	}
	return l
}

// text is a plan as the tests write it.
func text(p *Plan) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "uplink %s mtu %d\n", p.Uplink.Name, p.MTU)
	for _, w := range p.Ways {
		fmt.Fprintln(b, w)
	}
	var names []string
	for name := range p.Remotes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(b, "remote %s %s %v\n", name, p.Remotes[name].Tunnel, p.Remotes[name].PodCIDRs)
	}
	for _, r := range p.Routes {
		fmt.Fprintln(b, "route", r)
	}
	for _, problem := range p.Problems {
		fmt.Fprintln(b, problem)
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	const (
		own4, own6 = "10.244.1.0/24", "fd00:1::/64"
		both       = own4 + "," + own6
	)
	eth := []string{"lo2 65536 198.51.100.1/32", "eth0 1500 192.0.2.1/24,2001:db8::1/64 default"}
	for _, tc := range []struct {
		name       string
		cfg        Config
		cidrs      string
		interfaces []string
		nodes      []string
		want       string
	}{
		{
			name: "encap, both families through one tunnel", cfg: Config{Mode: Encap}, cidrs: both, interfaces: eth,
			nodes: []string{"n1 1 " + both + " 192.0.2.1,2001:db8::1", "n2 2 10.244.2.0/24,fd00:2::/64 192.0.2.2,2001:db8::2"},
			want: `
uplink eth0 mtu 1450
10.244.2.0/24 of n2: encap to 192.0.2.2
fd00:2::/64 of n2: encap to 192.0.2.2
remote n2 192.0.2.2 [10.244.2.0/24 fd00:2::/64]
route 10.244.2.0/24 via 10.244.2.1 dev sluice0 onlink src 10.244.1.1
route fd00:2::/64 via fd00:2::1 dev sluice0 onlink src fd00:1::1
`},
		{
			name: "encap, IPv6 only", cfg: Config{Mode: Encap}, cidrs: own6, interfaces: []string{"eth0 9000 2001:db8::1/64"},
			nodes: []string{"n1 1 " + own6 + " 2001:db8::1", "n2 2 fd00:2::/64 2001:db8::2"},
			want: `
uplink eth0 mtu 8930
fd00:2::/64 of n2: encap to 2001:db8::2
remote n2 2001:db8::2 [fd00:2::/64]
route fd00:2::/64 via fd00:2::1 dev sluice0 onlink src fd00:1::1
`},
		{
			name: "encap, one node has no IPv4", cfg: Config{Mode: Encap}, cidrs: both, interfaces: eth,
			nodes: []string{"n1 1 " + both + " 192.0.2.1,2001:db8::1", "n2 2 10.244.2.0/24 192.0.2.2", "n3 3 fd00:3::/64 2001:db8::3"},
			want: `
uplink eth0 mtu 1430
10.244.2.0/24 of n2: encap to 192.0.2.2
fd00:3::/64 of n3: encap to 2001:db8::3
remote n2 192.0.2.2 [10.244.2.0/24]
remote n3 2001:db8::3 [fd00:3::/64]
route 10.244.2.0/24 via 10.244.2.1 dev sluice0 onlink src 10.244.1.1
route fd00:3::/64 via fd00:3::1 dev sluice0 onlink src fd00:1::1
`},
		{
			name: "noEncap, in the subnet and elsewhere", cfg: Config{Mode: NoEncap}, cidrs: both, interfaces: eth,
			nodes: []string{"n1 1 " + both + " 192.0.2.1", "n2 2 10.244.2.0/24,fd00:2::/64 192.0.2.2,2001:db8::2", "n3 3 10.244.3.0/24,fd00:3::/64 203.0.113.3,2001:db8::3"},
			want: `
uplink eth0 mtu 1500
10.244.2.0/24 of n2: noEncap to 192.0.2.2
fd00:2::/64 of n2: noEncap to 2001:db8::2
10.244.3.0/24 of n3: left to the underlay's routers
fd00:3::/64 of n3: noEncap to 2001:db8::3
route 10.244.2.0/24 via 192.0.2.2 dev eth0
route fd00:2::/64 via 2001:db8::2 dev eth0
route fd00:3::/64 via 2001:db8::3 dev eth0
`},
		{
			name: "hybrid, each range by itself", cfg: Config{Mode: Hybrid}, cidrs: both, interfaces: eth,
			nodes: []string{"n1 1 " + both + " 192.0.2.1,2001:db8::1", "n2 2 10.244.2.0/24,fd00:2::/64 192.0.2.2", "n3 3 10.244.3.0/24 203.0.113.3"},
			want: `
uplink eth0 mtu 1450
10.244.2.0/24 of n2: noEncap to 192.0.2.2
fd00:2::/64 of n2: encap to 192.0.2.2
10.244.3.0/24 of n3: encap to 203.0.113.3
remote n2 192.0.2.2 [fd00:2::/64]
remote n3 203.0.113.3 [10.244.3.0/24]
route 10.244.2.0/24 via 192.0.2.2 dev eth0
route 10.244.3.0/24 via 10.244.3.1 dev sluice0 onlink src 10.244.1.1
route fd00:2::/64 via fd00:2::1 dev sluice0 onlink src fd00:1::1
`},
		{
			name: "two nodes claim one range: the older keeps it", cfg: Config{Mode: Encap}, cidrs: own4, interfaces: eth,
			nodes: []string{"n1 5 " + own4 + " 192.0.2.1", "a 9 10.244.2.0/24 192.0.2.10", "b 3 10.244.2.0/24 192.0.2.11",
				"c 3 10.244.2.128/25,10.244.3.0/24 192.0.2.12", "d 1 10.244.0.0/23 192.0.2.13"},
			want: `
uplink eth0 mtu 1450
10.244.2.0/24 of b: encap to 192.0.2.11
10.244.3.0/24 of c: encap to 192.0.2.12
remote b 192.0.2.11 [10.244.2.0/24]
remote c 192.0.2.12 [10.244.3.0/24]
route 10.244.2.0/24 via 10.244.2.1 dev sluice0 onlink src 10.244.1.1
route 10.244.3.0/24 via 10.244.3.1 dev sluice0 onlink src 10.244.1.1
node a: the pod range 10.244.2.0/24 overlaps 10.244.2.0/24 of node b, which keeps it
node c: the pod range 10.244.2.128/25 overlaps 10.244.2.0/24 of node b, which keeps it
node d: the pod range 10.244.0.0/23 overlaps 10.244.1.0/24 of node n1, which keeps it
`},
		{
			name: "ranges with addresses of nodes in them", cfg: Config{Mode: Encap}, cidrs: own4, interfaces: eth,
			nodes: []string{"n1 1 " + own4 + " 192.0.2.1", "n2 2 192.0.0.0/16 203.0.113.2", "n3 3 203.0.113.0/24 203.0.113.3"},
			want: `
uplink eth0 mtu 1450
node n2: the pod range 192.0.0.0/16 contains the address 192.0.2.1 of a node, so no packet is sent there
node n3: the pod range 203.0.113.0/24 contains the address 203.0.113.3 of a node, so no packet is sent there
`},
		{
			name: "nodes that are not whole yet", cfg: Config{Mode: Encap}, cidrs: own4, interfaces: eth,
			nodes: []string{"n1 1 " + own4 + " 192.0.2.1", "n2 2 10.244.2.0/24 -", "n3 3 - 192.0.2.3", "n4 4 10.244.4.0/24 2001:db8::4"},
			want: `
uplink eth0 mtu 1450
node n2: status.addresses has no InternalIP, so its pods in 10.244.2.0/24 can't be reached
node n4: its InternalIP 2001:db8::4 is of another family than this node's, so its pods in 10.244.4.0/24 can't be reached
`},
		{
			name: "no Node object of its own: the uplink has the default route", cfg: Config{Mode: Encap}, cidrs: own4, interfaces: eth,
			nodes: []string{"n2 2 10.244.2.0/24 192.0.2.2"},
			want: `
uplink eth0 mtu 1450
10.244.2.0/24 of n2: encap to 192.0.2.2
remote n2 192.0.2.2 [10.244.2.0/24]
route 10.244.2.0/24 via 10.244.2.1 dev sluice0 onlink src 10.244.1.1
`},
		{
			name: "an InternalIP that no interface has", cfg: Config{Mode: Encap}, cidrs: own4, interfaces: []string{"eth0 1400 10.0.0.1/24 default"},
			nodes: []string{"n1 1 " + own4 + " 192.0.2.1"},
			want: `
uplink eth0 mtu 1350
node n1: no interface has the InternalIP 192.0.2.1 of this node
`},
		{
			name: "no uplink at all", cfg: Config{Mode: Encap}, cidrs: own4, want: "\nuplink  mtu 1450\n",
		},
		{
			name: "an MTU that does not fit", cfg: Config{Mode: Encap, MTU: 1500}, cidrs: own4, interfaces: eth,
			nodes: []string{"n1 1 " + own4 + " 192.0.2.1"},
			want: `
uplink eth0 mtu 1500
node n1: the configured MTU 1500 is more than the 1450 bytes that fit through eth0
`},
		{
			name: "an uplink too narrow for IPv6", cfg: Config{Mode: Encap}, cidrs: own6, interfaces: []string{"eth0 1300 2001:db8::1/64"},
			nodes: []string{"n1 1 " + own6 + " 2001:db8::1"},
			want: `
uplink eth0 mtu 1230
node n1: pods have an MTU of 1230, and IPv6 works with 1280 or more only
`},
		{
			name: "a smaller MTU is taken", cfg: Config{Mode: NoEncap, MTU: 1400}, cidrs: own4, interfaces: eth, want: "\nuplink eth0 mtu 1400\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.Node, tc.cfg.Gateway = "n1", "sluice0"
			local := localOf(t, tc.cidrs, tc.interfaces)
			var events []cluster.Event
			for _, line := range tc.nodes {
				events = append(events, cluster.Event{Node: nodeOf(t, line)})
			}
			for range 2 { // in whatever order they are heard of
				table := NewTable()
				table.Update(events)
				p := table.Plan(tc.cfg, local)
				if diff := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), text(p)); diff != "" {
					t.Errorf("plan (-want +got):\n%s", diff)
				}
				slices.Reverse(events)
			}
		})
	}
}

// Others tunnel to a node's first InternalIP of a family, and take packets from
// there alone.
func TestTunnelSourcesAreTheAddressesThatOthersKnow(t *testing.T) {
	for _, tc := range []struct {
		name, internal, interfaces string
		want                       string
	}{
		{"the second address of the uplink", "192.0.2.2,2001:db8::2", "eth0 1500 192.0.2.1/24,192.0.2.2/24,2001:db8::1/64,2001:db8::2/64 default", "192.0.2.2 2001:db8::2"},
		{"several of a family", "192.0.2.2,192.0.2.1", "eth0 1500 192.0.2.1/24,192.0.2.2/24 default", "192.0.2.2"},
		{"not the one with the default route", "198.51.100.1", "eth0 1500 198.51.100.1/24", "198.51.100.1"},
		{"on no interface", "203.0.113.1,2001:db8::1", "eth0 1500 192.0.2.1/24,2001:db8::1/64 default", "2001:db8::1"},
		{"no Node object", "", "eth0 1500 192.0.2.1/24,192.0.2.2/24 default", "192.0.2.1"},
	} {
		table := NewTable()
		if tc.internal != "" {
			table.Update([]cluster.Event{{Node: nodeOf(t, "n1 1 10.244.1.0/24 "+tc.internal)}})
		}
		p := table.Plan(Config{Node: "n1", Mode: Encap, Gateway: "sluice0"}, localOf(t, "10.244.1.0/24", []string{"eth1 1500 10.9.9.9/24", tc.interfaces}))
		if got := strings.Trim(fmt.Sprint(p.TunnelSources), "[]"); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}
