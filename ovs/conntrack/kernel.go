package conntrack

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// removable reports whether ovs-vswitchd can remove connections of a protocol from
// the kernel's tracker. Of others it writes no tuple, and says that the operation is
// not supported: among them is SCTP.
func removable(protocol uint8) bool {
	switch protocol {
	case icmp, tcp, udp, icmpv6:
		return true
	}
	return false
}

// flushKernel removes a connection from the tracker of the kernel that the caller's
// network namespace has, without ovs-vswitchd. Ports count only where the protocol
// has some.
func flushKernel(zone uint16, orig Tuple) error {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family(orig), Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(nl.CTA_ZONE, nl.BEUint16Attr(zone)))
	req.AddData(tupleAttr(nl.CTA_TUPLE_ORIG, orig))
	if _, err := req.Execute(unix.NETLINK_NETFILTER, 0); err != nil && !errors.Is(err, unix.ENOENT) { // it is gone already
		return fmt.Errorf("ask the kernel: %w", err)
	}
	return nil
}

func family(t Tuple) uint8 {
	if t.Src.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// tupleAttr is a tuple as netlink has it, but for ICMP's.
func tupleAttr(attr int, t Tuple) *nl.RtAttr {
	src, dst := nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
	if t.Src.Is6() {
		src, dst = nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	out := nl.NewRtAttr(unix.NLA_F_NESTED|attr, nil)
	ip := out.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
	ip.AddRtAttr(src, t.Src.AsSlice())
	ip.AddRtAttr(dst, t.Dst.AsSlice())
	proto := out.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
	proto.AddRtAttr(nl.CTA_PROTO_NUM, nl.Uint8Attr(t.Protocol))
	proto.AddRtAttr(nl.CTA_PROTO_SRC_PORT, nl.BEUint16Attr(t.SrcPort))
	proto.AddRtAttr(nl.CTA_PROTO_DST_PORT, nl.BEUint16Attr(t.DstPort))
	return out
}
