package route

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func set(t *testing.T, want ...Route) int {
	t.Helper()
	changed, err := SetRoutes(want)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func wantOwn(t *testing.T, want string) {
	t.Helper()
	if diff := cmp.Diff(want, own(t)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestRoutesComeAndGoAndStay(t *testing.T) {
	enter(t)
	all := []Route{encap4, plain4, encap6, plain6}
	if n := set(t, all...); n != 4 {
		t.Errorf("%d changed, want 4", n)
	}
	wantOwn(t, listed4+"\n"+listed6)
	if n := set(t, all...); n != 0 {
		t.Errorf("%d changed the second time", n)
	}
	// The node has another address, another one went from the tunnel to the subnet.
	moved4 := Route{To: plain4.To, Via: addr("192.0.2.3"), Dev: "uplink"}
	moved6 := Route{To: encap6.To, Via: addr("2001:db8::3"), Dev: "uplink"}
	if n := set(t, encap4, moved4, moved6, plain6); n != 2 {
		t.Errorf("%d changed, want 2", n)
	}
	wantOwn(t, strings.ReplaceAll(listed4, "192.0.2.2", "192.0.2.3")+"\n"+
		"fd00:244:1::/64 via 2001:db8::3 dev uplink metric 1024\nfd00:244:2::/64 via 2001:db8::2 dev uplink metric 1024")
	if n := set(t, plain6); n != 3 {
		t.Errorf("%d changed, want 3", n)
	}
	wantOwn(t, "fd00:244:2::/64 via 2001:db8::2 dev uplink metric 1024")
	if n := set(t); n != 1 {
		t.Errorf("%d changed, want 1", n)
	}
	wantOwn(t, "")
}

func TestANodeOfOneFamilyHasItsRoutes(t *testing.T) {
	enter(t)
	for _, link := range []string{"sluice0", "uplink"} {
		ip(t, "-4", "addr", "flush", "dev", link)
	}
	set(t, encap6, plain6)
	wantOwn(t, listed6)
}

func TestRoutesOfOthersAreNotTouched(t *testing.T) {
	enter(t)
	ip(t, "route", "add", "10.244.1.0/24", "via", "192.0.2.9", "proto", "static")
	ip(t, "route", "add", "10.99.0.0/16", "via", "192.0.2.9", "proto", "static")
	_, err := SetRoutes([]Route{encap4, plain4, encap6})
	if err == nil || !strings.Contains(err.Error(), "10.244.1.0/24") {
		t.Errorf("error %v, want one that names the route", err)
	}
	wantOwn(t, "10.244.2.0/24 via 192.0.2.2 dev uplink\nfd00:244:1::/64 via fd00:244:1::1 dev sluice0 src fd00:244::1 metric 1024 onlink")
	set(t)
	got := strings.Fields(ip(t, "route", "show", "proto", "static"))
	if !slices.Contains(got, "10.244.1.0/24") || !slices.Contains(got, "10.99.0.0/16") {
		t.Errorf("routes of others: %s", got)
	}
}

func TestARouteOverAnInterfaceThatIsNotThereIsNamed(t *testing.T) {
	enter(t)
	gone := plain4
	gone.Dev = "eth9"
	_, err := SetRoutes([]Route{gone, encap4})
	if err == nil || !strings.Contains(err.Error(), "no interface eth9") {
		t.Errorf("error %v", err)
	}
	wantOwn(t, "10.244.1.0/24 via 10.244.1.1 dev sluice0 src 10.244.0.1 onlink")
}

func TestInterfacesAreThoseThatReachOthers(t *testing.T) {
	enter(t)
	ip(t, "route", "add", "default", "via", "192.0.2.254")
	ip(t, "link", "set", "uplink", "mtu", "1400")
	got, err := Interfaces("sluice0")
	if err != nil {
		t.Fatal(err)
	}
	want := []Interface{{Name: "uplink", MTU: 1400, Default: true, Addrs: prefixes("192.0.2.1/24", "2001:db8::1/64")}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Interface) bool {
		return a.Name == b.Name && a.MTU == b.MTU && a.Default == b.Default && slices.Equal(a.Addrs, b.Addrs)
	})); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
}
