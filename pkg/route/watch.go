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

// Changes are a set of things that have changed.
type Changes uint8

// What Watch tells of.
const (
	// ChangedNode is an interface, an address or local route, or a route of Protocol.
	ChangedNode Changes = 1 << iota
	// ChangedMasquerade is Table, ChangedServices is ServiceTable.
	ChangedMasquerade
	ChangedServices
)

// Watch calls changed after something has changed that the work of this package
// depends on, or that undoes it: interfaces, except those that ignore says are of
// no interest, the node's addresses and local routes, a route of Protocol that
// somebody removed, the nftables tables. It goes on until ctx is done. Notifications
// come from the kernel as things happen, so that a firewall that flushes all rules is
// noticed at once; nft is not run to look. Some of what is told of may not have
// changed.
func Watch(ctx context.Context, ignore func(link string) bool, changed func(Changes)) error {
	links := func(m *syscall.NetlinkMessage) Changes {
		if tellsOfNode(m, ignore) {
			return ChangedNode
		}
		return 0
	}
	for _, w := range []struct {
		what     string
		protocol int
		groups   []uint
		all      Changes
		tells    func(*syscall.NetlinkMessage) Changes
	}{
		{"interfaces, addresses and routes", unix.NETLINK_ROUTE, []uint{
			unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		}, ChangedNode, links},
		{"nftables", unix.NETLINK_NETFILTER, []uint{unix.NFNLGRP_NFTABLES}, ChangedMasquerade | ChangedServices, tellsOfTable},
	} {
		open := func() (*nl.NetlinkSocket, error) { return nl.Subscribe(w.protocol, w.groups...) }
		s, err := open()
		if err != nil {
			return fmt.Errorf("follow the node's %s: %w", w.what, err)
		}
		go follow(ctx, s, open, func(s *nl.NetlinkSocket) { receive(s, w.tells, w.all, changed) }, func() { changed(w.all) })
	}
	return nil
}

// follow reads notifications until ctx is done.
func follow(ctx context.Context, s *nl.NetlinkSocket, open func() (*nl.NetlinkSocket, error),
	receive func(*nl.NetlinkSocket), unheard func()) {
	for {
		stop := context.AfterFunc(ctx, s.Close)
		receive(s)
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
		unheard() // what happened in between
	}
}

// receive reads notifications, which are of all, until the socket fails.
func receive(s *nl.NetlinkSocket, tells func(*syscall.NetlinkMessage) Changes, all Changes, changed func(Changes)) {
	for {
		messages, _, err := s.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS): // some are lost
			changed(all)
			continue
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return
		}
		var told Changes
		for i := range messages {
			told |= tells(&messages[i])
		}
		if told != 0 {
			changed(told)
		}
	}
}

// tellsOfNode reports whether a notification of rtnetlink(7) is of interest.
func tellsOfNode(m *syscall.NetlinkMessage, ignore func(link string) bool) bool {
	switch m.Header.Type {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return true
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if len(m.Data) < unix.SizeofRtMsg {
			return false
		}
		r := nl.DeserializeRtMsg(m.Data)
		return r.Type == unix.RTN_LOCAL || r.Protocol == uint8(Protocol) && m.Header.Type == unix.RTM_DELROUTE
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		name, ok := attribute(m.Data, unix.SizeofIfInfomsg, unix.IFLA_IFNAME)
		return !ok || !ignore(name)
	}
	return false
}

// nftaTable is the attribute with the name of the table in each notification of
// nftables that is about what a table holds, or a table itself.
const nftaTable = 1

// tellsOfTable returns which table of this package a notification of nftables is
// about, if any.
func tellsOfTable(m *syscall.NetlinkMessage) Changes {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN {
		return 0
	}
	if len(m.Data) < nl.SizeofNfgenmsg || m.Data[0] != unix.NFPROTO_INET {
		return 0
	}
	switch name, _ := attribute(m.Data, nl.SizeofNfgenmsg, nftaTable); name {
	case Table:
		return ChangedMasquerade
	case ServiceTable:
		return ChangedServices
	}
	return 0
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
