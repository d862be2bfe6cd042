package route

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wantFound compares what a check has found, in any order.
func wantFound(t *testing.T, found []string, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	slices.Sort(want)
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func TestWhatDiffersOfTheGatewayIsFound(t *testing.T) {
	enter(t)
	g := Gateway{Name: "sluice0", Addrs: []netip.Prefix{prefixOf("10.244.0.1/24"), prefixOf("fd00:244::1/64")}, MTU: 1400}
	if _, err := g.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := Forward(true, true, nil); err != nil {
		t.Fatal(err)
	}
	found, err := g.Check()
	wantFound(t, append(found, g.CheckSysctls(true, true)...), err)

	ip(t, "link", "set", "sluice0", "mtu", "1300")
	ip(t, "addr", "del", "10.244.0.1/24", "dev", "sluice0")
	ip(t, "addr", "add", "10.9.9.9/32", "dev", "sluice0")
	found, err = g.Check()
	wantFound(t, found, err, "gateway sluice0: MTU is 1300, should be 1400",
		"gateway sluice0: address 10.244.0.1/24 is missing", "gateway sluice0: address 10.9.9.9/32 should not be there")
	ip(t, "link", "set", "sluice0", "down")
	found, err = g.Check()
	if err != nil || !slices.Contains(found, "gateway sluice0: the interface is down") {
		t.Errorf("an interface that is down: %v, %q", err, found)
	}
	ip(t, "link", "del", "sluice0")
	if _, err := g.Check(); err == nil || !strings.Contains(err.Error(), "gateway sluice0") {
		t.Errorf("an interface that is gone: %v", err)
	}
}

func TestSysctlsThatAreOffAreFound(t *testing.T) {
	enter(t)
	g := Gateway{Name: "sluice0"}
	if _, err := g.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := Forward(true, true, nil); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0", "net/ipv4/conf/uplink/rp_filter": "1", "net/ipv4/conf/all/rp_filter": "0",
	} {
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	wantFound(t, g.CheckSysctls(true, true), nil,
		"sysctl net/ipv4/ip_forward is 0, should be 1", "sysctl net/ipv6/conf/all/forwarding is 0, should be 1",
		// The kernel turns them off with those of all interfaces.
		"sysctl net/ipv4/conf/sluice0/forwarding is 0, should be 1", "sysctl net/ipv6/conf/sluice0/forwarding is 0, should be 1")
	if !SourceChecked("uplink") {
		t.Error("rp_filter 1 does not count as strict")
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte("2"), 0); err != nil {
		t.Fatal(err)
	}
	if SourceChecked("uplink") {
		t.Error("rp_filter 2 of all interfaces counts as strict")
	}
}

func TestWhatDiffersOfRoutesIsFound(t *testing.T) {
	enter(t)
	set(t, encap4, plain4)
	found, err := CheckRoutes([]Route{encap4, plain4})
	wantFound(t, found, err)
	ip(t, "neigh", "replace", plain4.Via.String(), "dev", "uplink", "nud", "failed")
	found, err = CheckRoutes([]Route{encap4, plain4, plain6})
	wantFound(t, found, err, "route "+plain4.String()+": the next hop does not answer on uplink", "route "+plain6.String()+" is missing")
	found, err = CheckRoutes([]Route{plain4})
	wantFound(t, found, err, "route "+plain4.String()+": the next hop does not answer on uplink", "route to "+encap4.To.String()+" should not be there")
	if err := CheckHop(plain4.Via); err == nil || !strings.Contains(err.Error(), plain4.Via.String()) {
		t.Errorf("a next hop that does not answer: %v", err)
	}
	if err := CheckHop(addr("192.0.2.200")); err != nil {
		t.Errorf("a next hop of which nothing is known: %v", err)
	}
	if err := CheckHop(addr("198.51.100.1")); err == nil {
		t.Error("no error where there is no route")
	}
}

func TestWhatDiffersOfTheRulesIsFound(t *testing.T) {
	enter(t)
	masquerade(t)()
	m, err := OpenMasquerade("sluice0")
	if err != nil {
		t.Fatal(err)
	}
	look := func() []string {
		t.Helper()
		found, err := m.Check(t.Context(), prefixes("10.244.0.0/24", "fd00:244::/64"), prefixes("10.244.1.0/24", "fd00:244:1::/64"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	wantFound(t, look(), nil)
	nft(t, "add element inet sluice cluster-pods-4 { 10.244.7.0/24 }; delete element inet sluice node-pods-6 { fd00:244::/64 }")
	wantFound(t, look(), nil, "set cluster-pods-4: 10.244.7.0/24 should not be there", "set node-pods-6: fd00:244::/64 is missing")
	nft(t, "flush chain inet sluice postrouting")
	wantFound(t, look(), nil, "table inet sluice: sets, chain or rules are not as they should be")
}

func TestWhatDiffersOfTheServicesRulesIsFound(t *testing.T) {
	enter(t)
	s := openServices(t)
	ensure(t, s, served())
	look := func() error {
		t.Helper()
		own, err := OpenServices("sluice0", s.mac)
		if err != nil {
			t.Fatal(err)
		}
		return own.Check(t.Context())
	}
	if err := look(); err != nil {
		t.Error(err)
	}
	nft(t, "delete table inet "+ServiceTable)
	if err := look(); err == nil || !strings.Contains(err.Error(), "table inet "+ServiceTable) {
		t.Errorf("a table that is gone: %v", err)
	}
}
