package random

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func nodeName(i int) string { return fmt.Sprintf("node%d", i) }

// Pod ranges are a /24 and a /64 of each node, densely used from the bottom, so
// that blocks of any length tell pods apart.

func podCIDRs(node int) []string {
	return []string{fmt.Sprintf("10.64.%d.0/24", node), fmt.Sprintf("fd00:64:0:%d::/64", node)}
}

// podAddrs returns the IPv4 and the IPv6 address of a slot, 0 being the first
// after the gateway's.
func podAddrs(node, slot int) [2]netip.Addr {
	return [2]netip.Addr{
		netip.AddrFrom4([4]byte{10, 64, byte(node), byte(slot + 2)}),
		netip.MustParseAddr(fmt.Sprintf("fd00:64:0:%d::%x", node, slot+2)),
	}
}

func gatewayAddrs(node int) [2]netip.Addr { return podAddrs(node, -1) }

func nodeAddrs(node int) [2]netip.Addr {
	return [2]netip.Addr{
		netip.AddrFrom4([4]byte{192, 168, 77, byte(node + 1)}),
		netip.MustParseAddr(fmt.Sprintf("fd00:77::%x", node+1)),
	}
}

func newNode(i int) *corev1.Node {
	cidrs, addrs := podCIDRs(i), nodeAddrs(i)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName(i)},
		Spec:       corev1.NodeSpec{PodCIDR: cidrs[0], PodCIDRs: cidrs},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeHostName, Address: nodeName(i)},
			{Type: corev1.NodeInternalIP, Address: addrs[0].String()},
			{Type: corev1.NodeInternalIP, Address: addrs[1].String()},
		}},
	}
}

// outside are addresses beyond the cluster that blocks are made around.
var outside = map[int][]netip.Addr{
	4: addresses("203.0.113.1", "203.0.113.6", "203.0.113.77", "203.0.113.200", "203.0.112.9", "198.51.100.7"),
	6: addresses("2001:db8::1", "2001:db8::6", "2001:db8:0:1::7", "2001:db8:1::1", "2001:db9::1", "2620:fe::9"),
}

func addresses(texts ...string) (addrs []netip.Addr) {
	for _, t := range texts {
		addrs = append(addrs, netip.MustParseAddr(t))
	}
	return addrs
}
