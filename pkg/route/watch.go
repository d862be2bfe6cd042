package route

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// resubscribe is how long Watch waits after the kernel refused what it had
// granted before.
const resubscribe = time.Second

// Watch calls changed after something has changed that the work of this package
// depends on, or that undoes it: interfaces, except those that ignore says are of
// no interest, the node's addresses, a route of Protocol that somebody removed,
// the nftables table. It goes on until ctx is done. Notifications come from the
// kernel as things happen, so that a firewall that flushes all rules is noticed at
// once; nft is not run to look.
func Watch(ctx context.Context, ignore func(link string) bool, changed func()) error {
	links := func(m *syscall.NetlinkMessage) bool { return tellsOfNode(m, ignore) }
	for _, w := range []struct {
		what     string
		protocol int
		groups   []uint
		counts   func(*syscall.NetlinkMessage) bool
	}{
		{"interfaces, addresses and routes", unix.NETLINK_ROUTE, []uint{
			unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		}, links},
		{"nftables", unix.NETLINK_NETFILTER, []uint{unix.NFNLGRP_NFTABLES}, tellsOfTable},
	} {
		open := func() (*nl.NetlinkSocket, error) { return nl.Subscribe(w.protocol, w.groups...) }
		s, err := open()
		if err != nil {
			return fmt.Errorf("follow the node's %s: %w", w.what, err)
		}
		go follow(ctx, s, open, w.counts, changed)
	}
	return nil
}

// follow reads notifications until ctx is done.
func follow(ctx context.Context, s *nl.NetlinkSocket, open func() (*nl.NetlinkSocket, error),
	counts func(*syscall.NetlinkMessage) bool, changed func()) {
	for {
		stop := context.AfterFunc(ctx, s.Close)
		receive(s, counts, changed)
		stop()
		s.Close()
		for {
			if ctx.Err() != nil {
				return
			}
			var err error
			if s, err = open(); err == nil {
				break
			}
			select {
			case <-time.After(resubscribe):
			case <-ctx.Done():
			}
		}
		changed() // unheard in between
	}
}

// receive reads notifications until the socket fails.
func receive(s *nl.NetlinkSocket, counts func(*syscall.NetlinkMessage) bool, changed func()) {
	for {
		messages, _, err := s.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS): // some are lost
			changed()
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return
		}
		for i := range messages {
			if counts(&messages[i]) {
				changed()
				break
			}
		}
	}
}

// tellsOfNode reports whether a notification of rtnetlink(7) is of interest.
func tellsOfNode(m *syscall.NetlinkMessage, ignore func(link string) bool) bool {
	switch m.Header.Type {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return true
	case unix.RTM_DELROUTE:
		return len(m.Data) >= unix.SizeofRtMsg && nl.DeserializeRtMsg(m.Data).Protocol == uint8(Protocol)
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		name, ok := attribute(m.Data, unix.SizeofIfInfomsg, unix.IFLA_IFNAME)
		return !ok || !ignore(name)
	}
	return false
}

// nftaTable is the attribute with the name of the table in each notification of
// nftables that is about what a table holds, or a table itself.
const nftaTable = 1

// tellsOfTable reports whether a notification of nftables is about Table.
func tellsOfTable(m *syscall.NetlinkMessage) bool {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN {
		return false
	}
	if len(m.Data) < nl.SizeofNfgenmsg || m.Data[0] != unix.NFPROTO_INET {
		return false
	}
	name, ok := attribute(m.Data, nl.SizeofNfgenmsg, nftaTable)
	return ok && name == Table
}

// attribute finds a text among the attributes that follow a header of a
// notification.
func attribute(data []byte, header int, kind uint16) (string, bool) {
	if len(data) < header {
		return "", false
	}
	attrs, err := nl.ParseRouteAttr(data[header:])
	if err != nil {
		return "", false
	}
	for _, a := range attrs {
		if a.Attr.Type == kind && len(a.Value) > 0 {
			return string(a.Value[:len(a.Value)-1]), true
		}
	}
	return "", false
}
