package route

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestAListThatChangesAsItIsReadIsReadAgain(t *testing.T) {
	other := errors.New("another error")
	for _, c := range []struct {
		name        string
		interrupted int // how many times first
		then        error
		reads       int
		want        error
	}{
		{"it is whole", 0, nil, 1, nil},
		{"it changes twice", 2, nil, 3, nil},
		{"it always changes", 1000, nil, dumps, netlink.ErrDumpInterrupted},
		{"it can't be read", 0, other, 1, other},
		{"it changes, and then can't be read", 1, other, 2, other},
	} {
		reads := 0
		got, err := Dump(func() (int, error) {
			if reads++; reads <= c.interrupted {
				return reads, fmt.Errorf("wrapped: %w", netlink.ErrDumpInterrupted)
			}
			return reads, c.then
		})
		if reads != c.reads || got != c.reads || !errors.Is(err, c.want) {
			t.Errorf("%s: read %d times, want %d; got the list of read %d and %v, want %v", c.name, reads, c.reads, got, err, c.want)
		}
	}
}

// A list of many addresses needs several messages of the kernel's, between which
// it may change.
func TestAddressesThatComeAndGoDoNotInterruptAList(t *testing.T) {
	enter(t)
	uplink, err := netlink.LinkByName("uplink")
	if err != nil {
		t.Fatal(err)
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE) // of this namespace, whatever thread uses it
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	at := func(i int) *netlink.Addr {
		a := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		return &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, 32))}
	}
	const stay = 300
	for i := range stay {
		if err := handle.AddrAdd(uplink, at(i)); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var change sync.WaitGroup
	change.Go(func() {
		for i := stay; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			a := at(stay + i%stay)
			if err := errors.Join(handle.AddrAdd(uplink, a), handle.AddrDel(uplink, a)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer change.Wait()
	defer close(stop)
	interrupted := 0
	for range 200 {
		if _, err := netlink.AddrList(nil, netlink.FAMILY_ALL); errors.Is(err, netlink.ErrDumpInterrupted) {
			interrupted++
		}
		if addrs, err := NodeAddrs(); err != nil {
			t.Fatal(err)
		} else if len(addrs) < stay {
			t.Fatalf("%d addresses, want %d at least", len(addrs), stay)
		}
		if _, err := Interfaces("sluice0"); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 200 lists were interrupted", interrupted)
}
