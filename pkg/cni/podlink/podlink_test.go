package podlink

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/containernetworking/plugins/pkg/testutils"
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/test/need"
)

// newNetns makes a network namespace that is gone when the test is over.
func newNetns(t *testing.T) ns.NetNS {
	t.Helper()
	need.Root(t)
	netns, err := testutils.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(netns.Close(), testutils.UnmountNS(netns)); err != nil {
			t.Error(err)
		}
	})
	return netns
}

// inside runs a check in the namespace.
func inside(t *testing.T, netns ns.NetNS, f func() error) {
	t.Helper()
	if err := netns.Do(func(ns.NetNS) error { return f() }); err != nil {
		t.Fatal(err)
	}
}

func dualStack(t *testing.T) *Link {
	l := &Link{
		Host:     "sltest" + t.Name()[len(t.Name())-4:],
		Pod:      "eth0",
		MAC:      net.HardwareAddr{0x0a, 0x58, 10, 244, 1, 5},
		MTU:      1400,
		Addrs:    []netip.Addr{netip.MustParseAddr("10.244.1.5"), netip.MustParseAddr("fd00:244:1::5")},
		Gateways: []netip.Addr{netip.MustParseAddr("10.244.1.1"), netip.MustParseAddr("fd00:244:1::1")},
	}
	t.Cleanup(func() {
		if err := Delete(l.Host); err != nil {
			t.Error(err)
		}
	})
	return l
}

func create(t *testing.T, l *Link, netns ns.NetNS) {
	t.Helper()
	if err := l.Create(netns); err != nil {
		t.Fatal(err)
	}
	if err := l.Configure(netns); err != nil {
		t.Fatal(err)
	}
}

func TestLinkIsUsableAtOnceInBothFamilies(t *testing.T) {
	netns, l := newNetns(t), dualStack(t)
	create(t, l, netns)
	if err := l.Check(netns); err != nil {
		t.Error(err)
	}
	inside(t, netns, func() error {
		for _, key := range []string{"accept_dad", "accept_ra", "autoconf", "disable_ipv6"} {
			if v, err := os.ReadFile("/proc/sys/net/ipv6/conf/eth0/" + key); err != nil || string(v) != "0\n" {
				t.Errorf("%s is %q (%v)", key, v, err)
			}
		}
		for dst, gw := range map[string]string{"192.0.2.1": "10.244.1.1", "2001:db8::1": "fd00:244:1::1"} {
			routes, err := netlink.RouteGet(net.ParseIP(dst))
			if err != nil {
				return err
			}
			if !routes[0].Gw.Equal(net.ParseIP(gw)) {
				t.Errorf("the way to %s is %v, not through %s", dst, routes[0], gw)
			}
		}
		return nil
	})
}

func TestHostEndHasNoIPv6AndAFixedMAC(t *testing.T) {
	netns, l := newNetns(t), dualStack(t)
	create(t, l, netns)
	link, err := netlink.LinkByName(l.Host)
	if err != nil {
		t.Fatal(err)
	}
	if got := link.Attrs().HardwareAddr.String(); got != l.HostMAC().String() {
		t.Errorf("the host's end has address %s instead of %s", got, l.HostMAC())
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil || len(addrs) != 0 {
		t.Errorf("the host's end has addresses %v (%v)", addrs, err)
	}
}

func TestChecksumsMoveIntoThePodOnlyWhenAsked(t *testing.T) {
	for _, software := range []bool{true, false} {
		netns, l := newNetns(t), dualStack(t)
		l.ChecksumInSoftware = software
		create(t, l, netns)
		inside(t, netns, func() error {
			e, err := ethtool.NewEthtool()
			if err != nil {
				return err
			}
			defer e.Close()
			features, err := e.Features("eth0")
			if err != nil {
				return err
			}
			if offloaded := features["tx-checksum-ip-generic"]; offloaded == software {
				t.Errorf("ChecksumInSoftware %v: transmit checksum offload is %v", software, offloaded)
			}
			return nil
		})
		if err := Delete(l.Host); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCreateReplacesALeftOverOfItsName(t *testing.T) {
	old, netns, l := newNetns(t), newNetns(t), dualStack(t)
	create(t, l, old)
	create(t, l, netns)
	if err := l.Check(netns); err != nil {
		t.Error(err)
	}
}

func TestCreateRefusesATakenPodInterface(t *testing.T) {
	netns, l := newNetns(t), dualStack(t)
	inside(t, netns, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "eth0"
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "other"})
	})
	if err := l.Create(netns); !errors.Is(err, ErrPodInterfaceExists) {
		t.Errorf("Create returned %v", err)
	}
	if there, err := Exists(l.Host); there || err != nil {
		t.Errorf("Exists(%s) is %v (%v) after a refused Create", l.Host, there, err)
	}
}

func TestDeleteIsIdempotent(t *testing.T) {
	netns, l := newNetns(t), dualStack(t)
	create(t, l, netns)
	for range 2 {
		if err := Delete(l.Host); err != nil {
			t.Fatal(err)
		}
	}
	inside(t, netns, func() error {
		if _, err := netlink.LinkByName("eth0"); !gone(err) {
			t.Errorf("eth0 in the pod: %v", err)
		}
		return nil
	})
}

func TestOpenTakesOnlyNetworkNamespacesOfPods(t *testing.T) {
	netns := newNetns(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, wrong := range map[string]string{
		netns.Path():           "",
		"":                     "is empty",
		"/run/netns/no-such":   "no such file",
		file:                   "unknown FS magic",
		"/proc/version":        "is no namespace",
		"/proc/self/ns/mnt":    "of another kind",
		"/proc/self/ns/net":    "the host's own",
		"/proc/thread-self/ns": "is no namespace",
	} {
		opened, err := Open(path)
		if err == nil {
			opened.Close()
		}
		if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("Open(%q) returned error %v, want %q", path, err, wrong)
		}
	}
}
