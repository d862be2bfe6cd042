package entry

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/route"
)

var local = Local{
	Sources: addrs("10.244.0.1", "fd00:244::1"),
	Ranges:  []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd00:96::/112")},
	Nodes:   map[netip.Addr]bool{netip.MustParseAddr("192.0.2.1"): true, netip.MustParseAddr("192.0.2.2"): true},
	Pods:    []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
}

func addrs(texts ...string) (out []netip.Addr) {
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

// balancerOf is a TCP balancer with frontends "ADDRESS:PORT", or ":PORT" for a node
// port, which "/local" gives the local scope for who comes from outside, and
// "/guarded" a range of clients; and with endpoints.
func balancerOf(t *testing.T, endpoints int, frontends ...string) *flows.Balancer {
	t.Helper()
	b := &flows.Balancer{Protocol: 6}
	for _, text := range frontends {
		at, option, _ := strings.Cut(text, "/")
		f := flows.Frontend{}
		switch option {
		case "local":
			f.Outside = flows.ScopeLocal
		case "guarded":
			f.Sources = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		}
		if port, ok := strings.CutPrefix(at, ":"); ok {
			if _, err := fmt.Sscan(port, &f.Port); err != nil {
				t.Fatal(err)
			}
		} else {
			ap := netip.MustParseAddrPort(at)
			f.Addr, f.Port = ap.Addr(), ap.Port()
		}
		b.Frontends = append(b.Frontends, f)
	}
	for i := range endpoints {
		b.Endpoints[flows.ScopeCluster] = append(b.Endpoints[flows.ScopeCluster], netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, 0, byte(i)}), 80))
	}
	return b
}

// text writes a state down.
func text(s *route.ServiceState, problems []string) (lines []string) {
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, r := range s.Ranges {
		line("range %s", r)
	}
	for _, a := range s.Addrs {
		line("address %s", a)
	}
	for f, name := range []string{"4", "6"} {
		for _, p := range s.NodePorts[f] {
			line("node port %s %d/%d", name, p.Protocol, p.Port)
		}
		for _, p := range s.RefusedNodePorts[f] {
			line("refused node port %s %d/%d", name, p.Protocol, p.Port)
		}
	}
	for at, to := range s.Shared {
		line("shared %s by %s", at.At, to)
	}
	for _, at := range s.Refused {
		line("refused %s", at.At)
	}
	for _, p := range problems {
		line("problem %s", p)
	}
	slices.Sort(lines)
	return lines
}

func TestWhatTheKernelHasToDo(t *testing.T) {
	for _, tc := range []struct {
		name      string
		endpoints int
		frontends []string
		want      []string // beside the ranges
	}{
		{"a ClusterIP is in a range", 1, []string{"10.96.0.10:80"}, nil},
		{"nobody serves a ClusterIP", 0, []string{"10.96.0.10:80"}, []string{"refused 10.96.0.10:80"}},
		{"a ClusterIP out of the ranges", 1, []string{"10.97.0.10:80"}, []string{"address 10.97.0.10"}},
		{"a node port", 1, []string{"10.96.0.10:80", ":30001"}, []string{"node port 4 6/30001"}},
		{"a node port of IPv6", 1, []string{"[fd00:96::10]:80", ":30001"}, []string{"node port 6 6/30001"}},
		{"nobody serves a node port", 0, []string{"10.96.0.10:80", ":30001"}, []string{"refused 10.96.0.10:80", "refused node port 4 6/30001"}},
		{"an external address", 2, []string{"10.96.0.10:80", "203.0.113.5:80", "203.0.113.5:81"}, []string{"address 203.0.113.5"}},
		{"nobody serves an external address", 0, []string{"203.0.113.5:80"}, []string{"address 203.0.113.5", "refused 203.0.113.5:80"}},
		{"a node's address, a node port stands in", 1, []string{"10.96.0.10:80", "192.0.2.1:80", ":30001"},
			[]string{"node port 4 6/30001", "shared 192.0.2.1:80 by 169.254.0.252:30001"}},
		{"a node's address, the ClusterIP stands in", 1, []string{"10.96.0.10:80", "192.0.2.2:8080"}, []string{"shared 192.0.2.2:8080 by 10.96.0.10:80"}},
		{"a node's address for local endpoints, one for such stands in", 1, []string{"10.96.0.10:80", "203.0.113.5:80/local", "192.0.2.1:80/local"},
			[]string{"address 203.0.113.5", "shared 192.0.2.1:80 by 203.0.113.5:80"}},
		{"a node's address for some clients, and no other that is", 1, []string{"10.96.0.10:80", "192.0.2.1:80/guarded", ":30001"}, []string{
			"node port 4 6/30001", "problem ns/s: 192.0.2.1 is the address of a node or a pod, and the Service has no other one, nor a node port, that lets in the same clients: it is refused there",
			"refused 192.0.2.1:80",
		}},
		{"nobody serves a node's address", 0, []string{"192.0.2.1:80"}, []string{"refused 192.0.2.1:80"}},
		{"a pod's address", 1, []string{"10.96.0.10:80", "10.244.3.4:80"}, []string{"shared 10.244.3.4:80 by 10.96.0.10:80"}},
		{"nobody's address", 1, []string{"10.96.0.10:80", "127.0.0.1:80", "169.254.0.252:80"},
			[]string{"problem ns/s: nobody can be reached at 127.0.0.1", "problem ns/s: nobody can be reached at 169.254.0.252"}},
		{"nothing says the family", 0, []string{":30001"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table := New()
			table.Update([]flows.BalancerChange{{Key: "ns/s", Balancer: balancerOf(t, tc.endpoints, tc.frontends...)}})
			want := append(tc.want, "range 10.96.0.0/16", "range fd00:96::/112")
			slices.Sort(want)
			if diff := cmp.Diff(want, text(table.State(local))); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRangesThatHoldOthersAddressesAreNotTakenWhole(t *testing.T) {
	l := local
	l.Ranges = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")}
	table := New()
	table.Update([]flows.BalancerChange{{Key: "ns/s", Balancer: balancerOf(t, 1, "10.96.0.10:80")}})
	want := []string{
		"address 10.96.0.10",
		"problem the range 10.0.0.0/8 of Services overlaps 10.244.0.0/16 of pods: its addresses are led to the bridge one by one",
		"problem the range 192.0.2.0/24 of Services contains the address 192.0.2.1 of a node: its addresses are led to the bridge one by one",
	}
	if diff := cmp.Diff(want, text(table.State(l))); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

func TestOnlyWhatConcernsTheKernelIsAChange(t *testing.T) {
	table := New()
	for _, step := range []struct {
		name string
		b    *flows.Balancer
		want bool
	}{
		{"it comes, and nobody serves it", balancerOf(t, 0, "10.96.0.10:80", ":30001"), true},
		{"nothing", balancerOf(t, 0, "10.96.0.10:80", ":30001"), false},
		{"somebody serves it", balancerOf(t, 1, "10.96.0.10:80", ":30001"), true},
		{"more do", balancerOf(t, 5, "10.96.0.10:80", ":30001"), false},
		{"it has another node port", balancerOf(t, 5, "10.96.0.10:80", ":30002"), true},
		{"it goes", nil, true},
		{"it is gone", nil, false},
	} {
		if got := table.Update([]flows.BalancerChange{{Key: "ns/s", Balancer: step.b}}); got != step.want {
			t.Errorf("%s: changed %v", step.name, got)
		}
	}
	if got := text(table.State(Local{})); len(got) != 0 {
		t.Errorf("it leaves %v", got)
	}
}

// The state is made anew for each change that concerns the kernel: that must not
// take long.
func TestTenThousandBalancers(t *testing.T) {
	table := New()
	var changes []flows.BalancerChange
	for i := range 10000 {
		a := fmt.Sprintf("10.96.%d.%d:80", i/250, i%250)
		changes = append(changes, flows.BalancerChange{Key: flows.BalancerKey(a), Balancer: balancerOf(t, 1, a, fmt.Sprintf(":%d", 20000+i))})
	}
	table.Update(changes)
	begin := time.Now()
	state, _ := table.State(local)
	took := time.Since(begin)
	if len(state.NodePorts[route.IPv4]) != 10000 || took > time.Second {
		t.Errorf("%d node ports in %s", len(state.NodePorts[route.IPv4]), took)
	}
	t.Logf("%s", took)
}
