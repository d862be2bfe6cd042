package oracle

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ParseConn reads a connection as tests write it: "shop/web > 203.0.113.1 udp/53"
// or "shop/web/6 > shop/db/6 icmp". A pod stands for its first address, with
// "/6" behind it for its first IPv6 one, and with "=10.0.1.7" behind it for that
// address, which the cluster need not know. "own-node" at the end sets
// FromOwnNode.
func (c *Cluster) ParseConn(text string) (Conn, error) {
	f := strings.Fields(text)
	own := len(f) == 5 && f[4] == "own-node"
	if len(f) < 4 || len(f) > 4 && !own || f[1] != ">" {
		return Conn{}, fmt.Errorf("%q: want SOURCE > DESTINATION PROTOCOL/PORT", text)
	}
	src, err := c.parseEnd(f[0])
	if err != nil {
		return Conn{}, fmt.Errorf("source of %q: %w", text, err)
	}
	dst, err := c.parseEnd(f[2])
	if err != nil {
		return Conn{}, fmt.Errorf("destination of %q: %w", text, err)
	}
	protocol, port, hasPort := strings.Cut(strings.ToUpper(f[3]), "/")
	conn := Conn{Src: src, Dst: dst, Protocol: corev1.Protocol(protocol), FromOwnNode: own}
	if hasPort != (conn.Protocol != ICMP) {
		return Conn{}, fmt.Errorf("protocol of %q: all but icmp have a port", text)
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return Conn{}, fmt.Errorf("port of %q: %w", text, err)
		}
		conn.Port = uint16(n)
	}
	return conn, nil
}

func (c *Cluster) parseEnd(text string) (Endpoint, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return Endpoint{Addr: a}, nil
	}
	text, addr, given := strings.Cut(text, "=")
	text, six := strings.CutSuffix(text, "/6")
	namespace, name, _ := strings.Cut(text, "/")
	e := Endpoint{Pod: Key{namespace, name}}
	if given {
		var err error
		e.Addr, err = netip.ParseAddr(addr)
		return e, err
	}
	pod := c.pod(e.Pod)
	if pod == nil {
		return e, fmt.Errorf("no pod %s", e.Pod)
	}
	i := slices.IndexFunc(pod.Status.PodIPs, func(ip corev1.PodIP) bool { return !six || strings.Contains(ip.IP, ":") })
	if i < 0 {
		return e, fmt.Errorf("pod %s has no such address", e.Pod)
	}
	var err error
	e.Addr, err = netip.ParseAddr(pod.Status.PodIPs[i].IP)
	return e, err
}
