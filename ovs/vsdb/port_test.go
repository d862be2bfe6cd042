package vsdb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-cni/sluice/ovs/sandbox"
)

func TestAddedPortHasANumberAndIsReadBack(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	spec := pod(2)
	port := add(t, db, spec)
	if got := strings.TrimSpace(vsctl(t, s, "get", "interface", spec.Name, "ofport")); got != fmt.Sprint(port.OFPort) {
		t.Errorf("port %+v, but ofport is %s", port, got)
	}
	list := ports(t, dial(t, s))
	if len(list) != 1 || list[0].OFPort != port.OFPort || list[0].Bridge != "br-sluice" || list[0].Problem != nil ||
		!list[0].Attachment.Equal(spec.Attachment) {
		t.Errorf("read back %+v, want %+v", list, port)
	}
}

func TestDeletePortTwiceIsNoError(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	spec := pod(2)
	add(t, db, spec)
	for range 2 {
		if err := db.DeletePort(within(t, timeout), spec.Name); err != nil {
			t.Fatal(err)
		}
		if list := ports(t, db); len(list) != 0 {
			t.Fatalf("ports are %+v", list)
		}
	}
	if got := vsctl(t, s, "--bare", "--columns=name", "find", "interface", "name="+spec.Name); got != "" {
		t.Errorf("the interface row stayed: %s", got)
	}
}

func TestInterfaceThatCannotExistIsReportedAndRemoved(t *testing.T) {
	_, db := ensured(t, sandbox.Netdev)
	spec := pod(2)
	spec.Type = ""
	_, err := db.AddPort(within(t, timeout), spec)
	var failed *InterfaceError
	if !errors.As(err, &failed) || !strings.Contains(failed.Reason, "No such device") {
		t.Errorf("error is %v", err)
	}
	if list := ports(t, db); len(list) != 0 {
		t.Errorf("the port stayed: %+v", list)
	}
}

func TestPortWithoutNumberAtTheDeadlineIsRemoved(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	if err := s.StopVswitchd(within(t, timeout)); err != nil {
		t.Fatal(err)
	}
	_, err := db.AddPort(within(t, time.Second), pod(2))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "is ovs-vswitchd running?") {
		t.Errorf("error is %v", err)
	}
	if list := ports(t, db); len(list) != 0 {
		t.Errorf("the port stayed: %+v", list)
	}
}

func TestPortOfAnExistingNameIsRefused(t *testing.T) {
	_, db := ensured(t, sandbox.Dummy)
	first, second := pod(2), pod(3)
	second.Name = first.Name
	add(t, db, first)
	_, err := db.AddPort(within(t, timeout), second)
	var exists *PortExistsError
	if !errors.As(err, &exists) || !exists.Ours {
		t.Errorf("error is %v", err)
	}
	if list := ports(t, db); len(list) != 1 || !list[0].Attachment.Equal(first.Attachment) {
		t.Errorf("ports are %+v", list)
	}
}

func TestAddressOfAnotherPortIsRefusedByTheTransaction(t *testing.T) {
	_, db := ensured(t, sandbox.Dummy)
	first, second := pod(2), pod(3)
	add(t, db, first)
	for i, addr := range first.Addrs {
		taken := second
		taken.Addrs = []netip.Addr{second.Addrs[0], second.Addrs[1]}
		taken.Addrs[i] = addr
		_, err := db.AddPort(within(t, timeout), taken)
		var inUse *AddressInUseError
		if !errors.As(err, &inUse) || inUse.Addr != addr || inUse.Holder != first.Name {
			t.Errorf("error is %v", err)
		}
	}
	add(t, db, second)
}

func TestPickIsAskedAgainUntilItsAddressIsFree(t *testing.T) {
	_, db := ensured(t, sandbox.Dummy)
	for n := 2; n < 5; n++ {
		add(t, db, pod(n))
	}
	spec := pod(9)
	spec.Attachment.MAC, spec.Attachment.Addrs = nil, nil
	next := 2
	spec.Pick = func(a *Attachment) error {
		a.MAC, a.Addrs = pod(next).MAC, pod(next).Addrs
		next++
		return nil
	}
	port := add(t, db, spec)
	if want := pod(5).Addrs; port.Addrs[0] != want[0] || port.Addrs[1] != want[1] {
		t.Errorf("addresses are %v, want %v", port.Addrs, want)
	}
	full := errors.New("10.1.0.0/24 is full")
	spec = pod(10)
	spec.Pick = func(*Attachment) error { return full }
	if _, err := db.AddPort(within(t, timeout), spec); !errors.Is(err, full) {
		t.Errorf("error is %v", err)
	}
}

func TestOneOfManyWantsAnAddressAndGetsIt(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	other := dial(t, s)
	results := make(chan error, 10)
	for n := range 10 {
		spec := pod(100 + n)
		spec.Attachment.Addrs = pod(2).Addrs
		go func() {
			_, err := []*DB{db, other}[n%2].AddPort(within(t, timeout), spec)
			results <- err
		}()
	}
	added := 0
	for range 10 {
		var inUse *AddressInUseError
		switch err := <-results; {
		case err == nil:
			added++
		case !errors.As(err, &inUse):
			t.Error(err)
		}
	}
	if added != 1 {
		t.Errorf("%d ports got the same address", added)
	}
}

func TestPortsOfOthersAreLeftAlone(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	spec := pod(2)
	vsctl(t, s, "add-port", "br-sluice", spec.Name, "--", "set", "interface", spec.Name, "type=dummy")
	if list := ports(t, db); len(list) != 0 {
		t.Errorf("ports are %+v", list)
	}
	var notOurs *NotOursError
	for _, name := range []string{spec.Name, "sluice0", "br-sluice"} {
		if err := db.DeletePort(within(t, timeout), name); !errors.As(err, &notOurs) {
			t.Errorf("delete %s: error is %v", name, err)
		}
	}
	_, err := db.AddPort(within(t, timeout), spec)
	var exists *PortExistsError
	if !errors.As(err, &exists) || exists.Ours {
		t.Errorf("error is %v", err)
	}
	if got := vsctl(t, s, "list-ports", "br-sluice"); !strings.Contains(got, spec.Name) {
		t.Errorf("ports are %s", got)
	}
}

func TestPortNeedsItsBridge(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	spec := pod(2)
	spec.Bridge = "br-none"
	_, err := db.AddPort(within(t, timeout), spec)
	if err == nil || !strings.Contains(err.Error(), "bridge br-none does not exist") {
		t.Errorf("error is %v", err)
	}
	if got := vsctl(t, s, "--bare", "--columns=name", "find", "port", "name="+spec.Name); got != "" {
		t.Errorf("a port row stayed: %s", got)
	}
}

func TestUnreadableIDsAreAProblemOfTheirPort(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	good, bad := add(t, db, pod(2)), add(t, db, pod(3))
	vsctl(t, s, "set", "port", bad.Name, "external_ids:"+IDMAC+"=nonsense")
	list := ports(t, db)
	if len(list) != 2 || list[0].Name != good.Name || list[0].Problem != nil {
		t.Fatalf("ports are %+v", list)
	}
	if p := list[1].Problem; p == nil || !strings.Contains(p.Error(), IDMAC) || len(list[1].Addrs) != 2 {
		t.Errorf("port is %+v", list[1])
	}
}

func TestTwoHundredPortsAreReadBack(t *testing.T) {
	s, db := ensured(t, sandbox.Dummy)
	const count = 200
	numbers := make([]uint32, count)
	var adds errgroup.Group
	adds.SetLimit(20)
	for n := range count {
		adds.Go(func() error {
			port, err := db.AddPort(within(t, timeout), pod(n))
			numbers[n] = port.OFPort
			return err
		})
	}
	if err := adds.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, reader := range []*DB{db, dial(t, s)} {
		list := ports(t, reader)
		if len(list) != count {
			t.Fatalf("%d ports", len(list))
		}
		for n, port := range list {
			if want := pod(n); port.Name != want.Name || port.OFPort != numbers[n] || !port.Attachment.Equal(want.Attachment) {
				t.Errorf("port %d is %+v", n, port)
			}
		}
	}
}
