package conntrack

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/test/need"
)

// track enters a connection into the kernel's tracker, as if its first packet had
// been committed.
func track(t *testing.T, zone uint16, orig Tuple) {
	t.Helper()
	reply := orig
	reply.Src, reply.Dst, reply.SrcPort, reply.DstPort = orig.Dst, orig.Src, orig.DstPort, orig.SrcPort
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_NEW, unix.NLM_F_ACK|unix.NLM_F_CREATE)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family(orig), Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(nl.CTA_ZONE, nl.BEUint16Attr(zone)))
	req.AddData(tupleAttr(nl.CTA_TUPLE_ORIG, orig))
	req.AddData(tupleAttr(nl.CTA_TUPLE_REPLY, reply))
	req.AddData(nl.NewRtAttr(nl.CTA_TIMEOUT, nl.BEUint32Attr(600)))
	if _, err := req.Execute(unix.NETLINK_NETFILTER, 0); err != nil {
		t.Fatalf("track %v: %v", orig, err)
	}
}

// ovs-vswitchd can't remove them from there: the test has none.
func TestConnectionsOfAnyProtocolAreRemovedFromTheKernel(t *testing.T) {
	need.Root(t)
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	const zone = 7
	tracked := func(family netlink.InetFamily, zone uint16) (n int) {
		t.Helper()
		all, err := netlink.ConntrackTableList(netlink.ConntrackTable, family)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.Zone == zone {
				n++
			}
		}
		return n
	}
	for family, addrs := range map[netlink.InetFamily][2]string{unix.AF_INET: {"10.0.0.1", "10.0.0.2"}, unix.AF_INET6: {"fd00::1", "fd00::2"}} {
		src, dst := netip.MustParseAddr(addrs[0]), netip.MustParseAddr(addrs[1])
		connections := []Tuple{
			{Src: src, Dst: dst, Protocol: sctp, SrcPort: 1000, DstPort: 99},
			{Src: src, Dst: dst, Protocol: sctp, SrcPort: 1000, DstPort: 100},
			{Src: src, Dst: dst, Protocol: 253}, // for experiments (RFC 3692)
		}
		for _, c := range connections {
			track(t, zone, c)
			track(t, zone+1, c)
		}
		for i, c := range connections {
			for range 2 { // it is gone the second time
				if err := Flush(t.Context(), nil, "system", zone, c); err != nil {
					t.Fatal(err)
				}
			}
			if n, want := tracked(family, zone), len(connections)-i-1; n != want {
				t.Errorf("after %v was removed %d are left, want %d", c, n, want)
			}
		}
		if n := tracked(family, zone+1); n != len(connections) {
			t.Errorf("%d are left in another zone, want %d", n, len(connections))
		}
	}
}
