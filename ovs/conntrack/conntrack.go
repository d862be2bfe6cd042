// Package conntrack reads and removes the connections that a datapath of Open
// vSwitch tracks, over ovs-vswitchd's control socket (the dpctl commands of
// ovs-vswitchd(8)).
//
// The system datapath shares the kernel's connection tracker; netdev and dummy
// have one in ovs-vswitchd. The two write the same dump, but do not track alike:
// the one in ovs-vswitchd does not know SCTP's ports (docs/sctp.md).
package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/sluice-cni/sluice/ovs/unixctl"
)

// IANA protocol numbers whose entries have more than addresses.
const (
	icmp   = 1
	tcp    = 6
	udp    = 17
	icmpv6 = 58
	sctp   = 132
)

// Tuple identifies one direction of a connection.
type Tuple struct {
	Src, Dst netip.Addr
	// Protocol is the IANA protocol number.
	Protocol uint8
	// SrcPort and DstPort are zero for ICMP, for protocols without ports, and on
	// the netdev and dummy datapaths for SCTP.
	SrcPort, DstPort uint16
	// ICMPID, ICMPType and ICMPCode are set for ICMP and ICMPv6.
	ICMPID             uint16
	ICMPType, ICMPCode uint8
}

// String returns "tcp 10.0.0.1:1000->10.0.0.2:80", or for ICMP
// "icmp 10.0.0.1->10.0.0.2 id 1 type 8 code 0".
func (t Tuple) String() string {
	switch {
	case t.isICMP():
		return fmt.Sprintf("%s %v->%v id %d type %d code %d", protocolName(t.Protocol), t.Src, t.Dst, t.ICMPID, t.ICMPType, t.ICMPCode)
	case t.SrcPort == 0 && t.DstPort == 0:
		return fmt.Sprintf("%s %v->%v", protocolName(t.Protocol), t.Src, t.Dst)
	}
	return fmt.Sprintf("%s %v->%v", protocolName(t.Protocol), netip.AddrPortFrom(t.Src, t.SrcPort), netip.AddrPortFrom(t.Dst, t.DstPort))
}

func (t Tuple) isICMP() bool { return t.Protocol == icmp || t.Protocol == icmpv6 }

// Labels is a ct_label, 128 bits.
type Labels struct {
	Hi, Lo uint64
}

// Word returns bits 32*i to 32*i+31 of the label, for i from 0 to 3.
func (l Labels) Word(i int) uint32 {
	half := l.Lo
	if i >= 2 {
		half = l.Hi
	}
	return uint32(half >> (32 * (i % 2)))
}

// Entry is a tracked connection.
type Entry struct {
	// Orig is the direction of the connection's first packet, Reply the other one
	// as it is seen on the wire: without NAT it is Orig turned around.
	Orig, Reply Tuple
	Zone        uint16
	Mark        uint32
	Labels      Labels
	// State is the state of a TCP connection ("SYN_SENT", "ESTABLISHED", …), and
	// of an SCTP one where it is tracked; else it is empty.
	State string
}

// Protocol returns the connection's IANA protocol number.
func (e *Entry) Protocol() uint8 { return e.Orig.Protocol }

// Dump returns the connections of a zone. datapath is the datapath_type of the
// bridge: "system", "netdev" or "dummy". ovs-vswitchd writes the whole dump
// before it does anything else.
func Dump(ctx context.Context, c *unixctl.Client, datapath string, zone uint16) ([]Entry, error) {
	text, err := c.Call(ctx, "dpctl/dump-conntrack", datapathName(datapath), fmt.Sprintf("zone=%d", zone))
	if err != nil {
		return nil, fmt.Errorf("dump connections of zone %d: %w", zone, err)
	}
	entries, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("dump connections of zone %d: %w", zone, err)
	}
	return entries, nil
}

// ErrUnflushable says that a connection can't be removed by its tuple: an
// ICMPv6 one on a datapath whose tracker is in ovs-vswitchd. There ovs-vswitchd
// 3.1 looks up the reverse of the ICMPv6 type among those of ICMPv4, does not
// find it, and aborts. Such an entry ends 60 s after its last packet, or with
// its zone (FlushZone).
var ErrUnflushable = errors.New("ovs-vswitchd can't remove a single ICMPv6 connection from its own tracker")

// Flush removes a connection, named by the tuple of its original direction. It
// does nothing if there is no such connection. A port of TCP or UDP that is zero
// stands for every port. What ovs-vswitchd can't remove from the kernel's tracker is
// removed without it, in the network namespace of the caller.
func Flush(ctx context.Context, c *unixctl.Client, datapath string, zone uint16, orig Tuple) error {
	err := flush(ctx, c, datapath, zone, orig)
	if err != nil {
		return fmt.Errorf("flush connection %v of zone %d: %w", orig, zone, err)
	}
	return nil
}

func flush(ctx context.Context, c *unixctl.Client, datapath string, zone uint16, orig Tuple) error {
	if datapath != "system" && orig.isICMP() && !reversible(orig) {
		return ErrUnflushable
	}
	fields, err := orig.fields()
	if err != nil {
		return err
	}
	if datapath == "system" && !removable(orig.Protocol) {
		return flushKernel(zone, orig)
	}
	err = callFlush(ctx, c, datapath, fmt.Sprintf("zone=%d", zone), fields)
	var refused *unixctl.CommandError
	if errors.As(err, &refused) && strings.Contains(refused.Text, "No such file or directory") {
		return nil // ENOENT: it is gone already
	}
	return err
}

// FlushZone removes all connections of a zone.
func FlushZone(ctx context.Context, c *unixctl.Client, datapath string, zone uint16) error {
	if err := callFlush(ctx, c, datapath, fmt.Sprintf("zone=%d", zone)); err != nil {
		return fmt.Errorf("flush connections of zone %d: %w", zone, err)
	}
	return nil
}

// callFlush calls dpctl/flush-conntrack. Contrary to its manual, ovs-vswitchd
// 3.1.0 does not take a datapath there: it reads it as a tuple. So it is then
// left out, which ovs-vswitchd refuses unless there is one datapath only.
func callFlush(ctx context.Context, c *unixctl.Client, datapath string, args ...string) error {
	name := datapathName(datapath)
	_, err := c.Call(ctx, "dpctl/flush-conntrack", append([]string{name}, args...)...)
	var refused *unixctl.CommandError
	if errors.As(err, &refused) && strings.Contains(refused.Text, "field "+name+" missing value") {
		_, err = c.Call(ctx, "dpctl/flush-conntrack", args...)
	}
	return err
}

// datapathName returns the name of the datapath that all bridges of a
// datapath_type share.
func datapathName(datapath string) string { return datapath + "@ovs-" + datapath }

// reversible reports whether ovs-vswitchd finds the type of the reply to an ICMP
// request: echo, timestamp and information of ICMPv4 (RFC 792).
func reversible(t Tuple) bool {
	if t.Protocol != icmp {
		return false
	}
	switch t.ICMPType {
	case 0, 8, 13, 14, 15, 16:
		return true
	}
	return false
}

// fields returns the tuple as dpctl/flush-conntrack takes it.
func (t Tuple) fields() (string, error) {
	if !t.Src.IsValid() || !t.Dst.IsValid() || t.Src.Is4() != t.Dst.Is4() {
		return "", fmt.Errorf("source %v and destination %v are not two addresses of one family", t.Src, t.Dst)
	}
	family := "nw"
	if t.Src.Is6() {
		family = "ipv6"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "ct_%s_src=%v,ct_%s_dst=%v,ct_nw_proto=%d", family, t.Src, family, t.Dst, t.Protocol)
	if t.isICMP() {
		fmt.Fprintf(&b, ",icmp_type=%d,icmp_code=%d,icmp_id=%d", t.ICMPType, t.ICMPCode, t.ICMPID)
		return b.String(), nil
	}
	if t.SrcPort != 0 {
		fmt.Fprintf(&b, ",ct_tp_src=%d", t.SrcPort)
	}
	if t.DstPort != 0 {
		fmt.Fprintf(&b, ",ct_tp_dst=%d", t.DstPort)
	}
	return b.String(), nil
}
