package podlink

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
)

// A node routes, and has the gateway's address on another interface: all that it
// takes for its network stack to answer a pod past the bridge.
func TestNodeIsDeafOnTheHostEnd(t *testing.T) {
	node, pod, l := newNetns(t), newNetns(t), dualStack(t)
	gateway := l.Gateways[0].String()
	var server *net.UDPConn
	inside(t, node, func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return err
		}
		gw := netlink.NewLinkAttrs()
		gw.Name = "gw"
		veth := netlink.NewVeth(gw)
		veth.PeerName = "elsewhere"
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		link, err := netlink.LinkByName("gw")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(gateway + "/24")
		if err != nil {
			return err
		}
		if err := errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link), l.Create(pod)); err != nil {
			return err
		}
		server, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(gateway)})
		return err
	})
	defer server.Close()
	if err := l.Configure(pod); err != nil {
		t.Fatal(err)
	}

	port := server.LocalAddr().(*net.UDPAddr).Port
	send := func() (err error) {
		err = pod.Do(func(ns.NetNS) error {
			c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.ParseIP(gateway), Port: port})
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte("past the bridge"))
			return err
		})
		return err
	}
	heard := func() bool {
		if err := server.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := server.Read(make([]byte, 100))
		return n > 0 && err == nil
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if heard() {
		t.Error("the node answered ARP for the gateway and took a packet")
	}
	// A pod can guess the host end's address.
	inside(t, pod, func() error {
		eth0, err := netlink.LinkByName(l.Pod)
		if err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{
			LinkIndex: eth0.Attrs().Index, IP: net.ParseIP(gateway), HardwareAddr: l.HostMAC(), State: netlink.NUD_PERMANENT,
		})
	})
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if heard() {
		t.Error("the node took a packet that a pod sent to the host end's address")
	}
}
