package route

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/test/need"
	"github.com/sluice-cni/sluice/test/netns"
)

var spaces atomic.Uint32

// machine is the machine's own network namespace.
var machine, _ = os.Readlink("/proc/self/ns/net")

// enter moves the test to a network namespace of its own, which has a gateway,
// sluice0, with 10.244.0.1/24 and fd00:244::1/64, and an uplink with 192.0.2.1/24
// and 2001:db8::1/64.
func enter(t *testing.T) {
	t.Helper()
	need.Root(t)
	ns, err := netns.Create(filepath.Join(netns.Dir, fmt.Sprintf("route-%d-%d", os.Getpid(), spaces.Add(1))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	// Never unlocked: the thread ends with the test.
	runtime.LockOSThread()
	if err := ns.Enter(); err != nil {
		t.Fatal(err)
	}
	for name, addrs := range map[string][]string{
		"sluice0": {"10.244.0.1/24", "fd00:244::1/64"},
		"uplink":  {"192.0.2.1/24", "2001:db8::1/64"},
	} {
		link(t, name)
		for _, a := range addrs {
			ip(t, "addr", "add", a, "dev", name, "nodad")
		}
	}
}

// link makes a pair of interfaces of which the first has the name.
func link(t *testing.T, name string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	veth := netlink.NewVeth(attrs)
	veth.PeerName = "x" + name[1:]
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{veth.PeerName, name} {
		l, err := netlink.LinkByName(n)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ip runs ip(8) and returns what it prints.
func ip(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, need.Tool(t, "ip", "apt-get install iproute2"), args...)
}

func nft(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, need.Tool(t, "nft", "apt-get install nftables"), args...)
}

// run runs a program in the test's namespace. Subtests have threads of their own,
// which are not in it: what they would change is the machine's.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	here, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil || here == machine {
		t.Fatalf("%s is not to run in the machine's own network namespace", name)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// own lists the routes of Protocol as ip(8) does, in order.
func own(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, family := range []string{"-4", "-6"} {
		for _, l := range strings.Split(ip(t, family, "route", "show", "proto", fmt.Sprint(Protocol)), "\n") {
			if fields := strings.Fields(strings.ReplaceAll(l, "pref medium", "")); len(fields) > 0 {
				lines = append(lines, strings.Join(fields, " "))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func addr(s string) netip.Addr       { return netip.MustParseAddr(s) }
func prefixOf(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// patience is how long what is to happen may take.
const patience = 10 * time.Second

var (
	encap4 = Route{To: prefixOf("10.244.1.0/24"), Via: addr("10.244.1.1"), Dev: "sluice0", OnLink: true, Source: addr("10.244.0.1")}
	encap6 = Route{To: prefixOf("fd00:244:1::/64"), Via: addr("fd00:244:1::1"), Dev: "sluice0", OnLink: true, Source: addr("fd00:244::1")}
	plain4 = Route{To: prefixOf("10.244.2.0/24"), Via: addr("192.0.2.2"), Dev: "uplink"}
	plain6 = Route{To: prefixOf("fd00:244:2::/64"), Via: addr("2001:db8::2"), Dev: "uplink"}
)

const (
	listed4 = "10.244.1.0/24 via 10.244.1.1 dev sluice0 src 10.244.0.1 onlink\n10.244.2.0/24 via 192.0.2.2 dev uplink"
	listed6 = "fd00:244:1::/64 via fd00:244:1::1 dev sluice0 src fd00:244::1 metric 1024 onlink\nfd00:244:2::/64 via 2001:db8::2 dev uplink metric 1024"
)
