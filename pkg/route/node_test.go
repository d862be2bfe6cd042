package route

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/test/need"
)

// masquerade sets rules up for a node with one other.
func masquerade(t *testing.T) func() bool {
	t.Helper()
	need.Tool(t, "nft", "apt-get install nftables")
	m, err := OpenMasquerade("sluice0")
	if err != nil {
		t.Fatal(err)
	}
	return func() bool {
		t.Helper()
		changed, err := m.Ensure(t.Context(), prefixes("10.244.0.0/24", "fd00:244::/64"), prefixes("10.244.1.0/24", "fd00:244:1::/64"))
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
}

func TestTheKernelHoldsWhatIsEnsured(t *testing.T) {
	enter(t)
	ensure := masquerade(t)
	if !ensure() {
		t.Error("nothing was written to begin with")
	}
	first := nft(t, "-a", "list", "ruleset")
	if ensure() {
		t.Error("written again, though nothing changed")
	}
	nft(t, "add table ip others; add chain ip others c; add rule ip others c accept")
	nft(t, "add element inet sluice cluster-pods-4 { 10.244.7.0/24 }; delete element inet sluice cluster-pods-4 { 10.244.0.0/24 }")
	if !ensure() {
		t.Error("changed elements were not noticed")
	}
	nft(t, "delete table ip others")
	if now := nft(t, "-a", "list", "ruleset"); now != first {
		t.Errorf("the rules were\n%s\nand are\n%s", first, now)
	}
	nft(t, "flush chain inet sluice postrouting")
	if !ensure() {
		t.Error("flushed rules were not noticed")
	}
	if now := nft(t, "list", "ruleset"); now != nft(t, "list", "table", "inet", Table) || strings.Count(now, "masquerade fully-random") != 2 {
		t.Errorf("the rules are now\n%s", now)
	}
}

// watch starts Watch and returns a channel of its calls.
func watch(t *testing.T) <-chan struct{} {
	t.Helper()
	calls := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	if err := Watch(ctx, func(link string) bool { return strings.HasPrefix(link, "pod") }, func(Changes) { calls <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	return calls
}

func TestChangesAreHeardOf(t *testing.T) {
	enter(t)
	masquerade(t)()
	set(t, encap4)
	link(t, "pod1")
	for _, tc := range []struct {
		name string
		do   func()
	}{
		{"a firewall flushes all rules", func() { nft(t, "flush", "ruleset") }},
		{"a route of ours is removed", func() { ip(t, "route", "del", "10.244.1.0/24") }},
		{"an address comes", func() { ip(t, "addr", "add", "192.0.2.7/24", "dev", "uplink") }},
		{"an address goes", func() { ip(t, "addr", "del", "192.0.2.7/24", "dev", "uplink") }},
		{"a local route comes", func() { ip(t, "route", "add", "local", "203.0.113.7", "dev", "lo") }},
		{"a local route goes", func() { ip(t, "route", "del", "local", "203.0.113.7", "dev", "lo") }},
		{"the uplink has another MTU", func() { ip(t, "link", "set", "uplink", "mtu", "1400") }},
		{"the gateway goes", func() { ip(t, "link", "del", "sluice0") }},
	} {
		calls := watch(t)
		tc.do()
		select {
		case <-calls:
		case <-time.After(patience):
			t.Errorf("%s: nothing was heard", tc.name)
		}
	}
}

func TestWhatIsOfNoInterestIsNotHeardOf(t *testing.T) {
	enter(t)
	link(t, "pod1")
	// IPv6 of the interfaces is up: no more addresses come by themselves.
	for deadline := time.Now().Add(patience); strings.Contains(ip(t, "-6", "addr", "show", "tentative"), "tentative"); {
		if time.Now().After(deadline) {
			t.Fatal("addresses stay tentative")
		}
		<-time.After(20 * time.Millisecond)
	}
	calls := watch(t)
	ip(t, "link", "set", "pod1", "mtu", "1400")
	ip(t, "route", "add", "10.99.0.0/16", "via", "192.0.2.9")
	ip(t, "route", "del", "10.99.0.0/16")
	nft(t, "add table inet others; delete table inet others; add table ip sluice; delete table ip sluice")
	// Notifications of one kind come in order: those of before the last have come.
	masquerade(t)()
	ip(t, "link", "set", "uplink", "mtu", "1400")
	n := 0
	for {
		select {
		case <-calls:
			n++
			continue
		case <-time.After(200 * time.Millisecond):
		}
		break
	}
	if n < 2 {
		t.Fatalf("%d calls, want those for the table and the uplink", n)
	}
	t.Logf("%d calls", n)
}

func TestForwardingKeepsRouterAdvertisements(t *testing.T) {
	enter(t)
	uplinks, err := Interfaces("sluice0")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := setSysctl(key, "0"); err != nil {
			t.Fatal(err)
		}
	}
	if err := Forward(true, false, uplinks); err != nil {
		t.Fatal(err)
	}
	want := func(key, value string) {
		t.Helper()
		if got := sysctl(key); got != value {
			t.Errorf("%s is %s, want %s", key, got, value)
		}
	}
	const ra = "net/ipv6/conf/uplink/accept_ra"
	want("net/ipv4/ip_forward", "1")
	want("net/ipv6/conf/all/forwarding", "0")
	want(ra, "1")
	if err := Forward(true, true, uplinks); err != nil {
		t.Fatal(err)
	}
	want("net/ipv6/conf/all/forwarding", "1")
	want(ra, "2")
	// What somebody decides later stays.
	if err := setSysctl(ra, "0"); err != nil {
		t.Fatal(err)
	}
	if err := Forward(true, true, uplinks); err != nil {
		t.Fatal(err)
	}
	want(ra, "0")
}

func TestCleanupLeavesNothing(t *testing.T) {
	enter(t)
	before := ip(t, "-4", "route") + ip(t, "-6", "route")
	g := Gateway{Name: "sluice0", Addrs: prefixes("10.244.0.1/24", "fd00:244::1/64"), MTU: 1450}
	if _, err := g.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := sysctl("net/ipv4/conf/sluice0/rp_filter"); got != "2" {
		t.Errorf("rp_filter of the gateway is %s, want 2", got)
	}
	masquerade(t)()
	set(t, encap4, encap6, plain4, plain6)
	ensure(t, openServices(t), served())
	nft(t, "add table inet others")
	for range 2 { // the second time there is nothing to remove
		if err := Cleanup(t.Context(), "sluice0"); err != nil {
			t.Fatal(err)
		}
		if got := ip(t, "neigh", "show", "nud", "permanent"); got != "" {
			t.Errorf("neighbours that are left: %s", got)
		}
		if got := nft(t, "list", "ruleset"); got != "table inet others {\n}\n" {
			t.Errorf("rules that are left: %s", got)
		}
		wantOwn(t, "")
		if got := ip(t, "addr", "show", "dev", "sluice0", "scope", "global"); strings.Contains(got, "inet") {
			t.Errorf("addresses that are left: %s", got)
		}
	}
	if after := ip(t, "-4", "route") + ip(t, "-6", "route"); strings.Contains(after, "10.244") || !strings.Contains(before, "192.0.2.0/24") || !strings.Contains(after, "192.0.2.0/24") {
		t.Errorf("routes before:\n%s\nafter:\n%s", before, after)
	}
	ip(t, "link", "del", "sluice0")
	if err := Cleanup(t.Context(), "sluice0"); err != nil {
		t.Errorf("without the gateway: %v", err)
	}
}
