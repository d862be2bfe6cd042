package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/ovs/vsdb"
)

func TestAddressesComeInOrderWithoutTheSpecialOnes(t *testing.T) {
	for _, test := range []struct {
		cidr, reserved string
		want           []string
	}{
		{"10.1.0.0/30", "", []string{"10.1.0.2"}},
		{"10.1.0.0/29", "10.1.0.4", []string{"10.1.0.2", "10.1.0.3", "10.1.0.5"}},
		{"fd00::/126", "", []string{"fd00::2"}},
		{"fd00::8/125", "fd00::b", []string{"fd00::a", "fd00::c", "fd00::d", "fd00::e"}},
	} {
		var reserved []netip.Addr
		if test.reserved != "" {
			reserved = addrs(test.reserved)
		}
		p := pool(t, []string{test.cidr}, reserved...)
		var got []string
		for {
			r, err := p.Allocate("p")
			var full *ExhaustedError
			if errors.As(err, &full) {
				if int(full.Usable) != len(test.want)+len(reserved) || full.Used != len(test.want) || full.Reserved != len(reserved) {
					t.Errorf("%s: error is %v", test.cidr, err)
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.Addrs()[0].String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.cidr, got, test.want)
		}
	}
}

func TestEachFamilyGivesOneAddressInTheOrderOfCIDRs(t *testing.T) {
	p := pool(t, []string{"fd00:1::/64", "10.1.0.0/24"})
	r, err := p.Allocate("p")
	if err != nil || !slices.Equal(r.Addrs(), addrs("fd00:1::2", "10.1.0.2")) {
		t.Errorf("got %v, %v", r.Addrs(), err)
	}
}

func TestExhaustedFamilyTakesNothingOfTheOther(t *testing.T) {
	p := pool(t, []string{"10.1.0.0/24", "fd00::/126"})
	commit(t, p, "p")
	_, err := p.Allocate("q")
	want := "podCIDR fd00::/126 is exhausted: of 1 addresses for pods 1 are in use and 0 reserved"
	if err == nil || err.Error() != want {
		t.Errorf("error is %v", err)
	}
	if u := p.Usage(); u[0].Used != 1 || u[0].Usable != 252 || u[1].Used != 1 {
		t.Errorf("usage is %+v", u)
	}
}

func TestReleasedReservationIsFreeAndCommittedOneIsNot(t *testing.T) {
	p := pool(t, []string{"10.1.0.0/30"})
	r, err := p.Allocate("a")
	if err != nil {
		t.Fatal(err)
	}
	p.Free("a") // not yet a port: DEL of an earlier attempt, say
	if _, err := p.Allocate("b"); err == nil {
		t.Error("a pending reservation was given away")
	}
	r.Release()
	r.Commit() // too late, and so without effect
	r, err = p.Allocate("b")
	if err != nil {
		t.Fatal(err)
	}
	r.Commit()
	r.Release()
	if _, err := p.Allocate("c"); err == nil {
		t.Error("a committed address was given away")
	}
	p.Free("b")
	if _, err := p.Allocate("c"); err != nil {
		t.Error(err)
	}
	var none *Reservation
	none.Commit()
	none.Release()
}

func TestSyncKnowsThePortsAndOnlyThem(t *testing.T) {
	p := pool(t, []string{"10.1.0.0/29", "fd00::/125"})
	resync(t, p, port("a", "10.1.0.3", "fd00::3"), port("elsewhere", "10.9.0.9"))
	// Those after the highest in use come first, as nothing tells when the others
	// were last used.
	for _, want := range [][]netip.Addr{
		addrs("10.1.0.4", "fd00::4"), addrs("10.1.0.5", "fd00::5"), addrs("10.1.0.2", "fd00::6"),
	} {
		if got := commit(t, p, "p"+want[0].String()); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if _, err := p.Allocate("q"); err == nil {
		t.Error("10.1.0.3 is in use")
	}
	resync(t, p)
	if u := p.Usage(); u[0].Used != 0 || u[1].Used != 0 {
		t.Errorf("usage is %+v", u)
	}
}

func TestSyncDoesNotUndoWhatHappensMeanwhile(t *testing.T) {
	p := pool(t, []string{"10.1.0.0/29"})
	resync(t, p, port("old", "10.1.0.2"))
	pending, err := p.Allocate("pending")
	if err != nil {
		t.Fatal(err)
	}
	err = p.Sync(func() ([]vsdb.Port, error) {
		commit(t, p, "new") // not in the list that was read before
		p.Free("old")       // still in it
		return []vsdb.Port{port("old", "10.1.0.2")}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if u := p.Usage(); u[0].Used != 2 {
		t.Errorf("usage is %+v", u)
	}
	pending.Release()
	p.Free("new")
	if u := p.Usage(); u[0].Used != 0 {
		t.Errorf("usage is %+v", u)
	}
	failed := errors.New("not connected")
	if err := p.Sync(func() ([]vsdb.Port, error) { return nil, failed }); !errors.Is(err, failed) {
		t.Errorf("error is %v", err)
	}
}

func TestChangeOfCIDRsKeepsWhatIsInUse(t *testing.T) {
	p := pool(t, []string{"10.1.0.0/24"})
	for n := range 3 {
		commit(t, p, fmt.Sprint(n))
	}
	if err := p.SetCIDRs(prefixes("10.2.0.0/24", "fd00::/64")); err != nil {
		t.Fatal(err)
	}
	if got := commit(t, p, "new"); !slices.Equal(got, addrs("10.2.0.2", "fd00::2")) {
		t.Errorf("got %v", got)
	}
	// A CIDR that holds those of before: they are not given again.
	if err := p.SetCIDRs(prefixes("10.1.0.0/16")); err != nil {
		t.Fatal(err)
	}
	if got := commit(t, p, "newer"); !slices.Equal(got, addrs("10.1.0.5")) {
		t.Errorf("got %v", got)
	}
	p.Free("0")
	if u := p.Usage(); u[0].Used != 3 {
		t.Errorf("usage is %+v", u)
	}
}

func TestPoolWithoutCIDRsHasNoAddress(t *testing.T) {
	p := pool(t, nil)
	if _, err := p.Allocate("p"); !errors.Is(err, ErrNoCIDR) {
		t.Errorf("error is %v", err)
	}
	if err := p.SetCIDRs(prefixes("10.1.0.0/24")); err != nil {
		t.Fatal(err)
	}
	commit(t, p, "p")
}

func TestBadCIDRsAreRefusedAndChangeNothing(t *testing.T) {
	p := pool(t, []string{"10.1.0.0/24"})
	for _, test := range []struct{ cidrs, want string }{
		{"10.1.0.0/31", "at most /30"},
		{"fd00::/127", "at most /126"},
		{"10.1.0.5/24", "want 10.1.0.0/24"},
		{"::ffff:10.1.0.0/120", "IPv4-mapped"},
		{"10.1.0.0/24 10.2.0.0/24", "same family"},
	} {
		err := p.SetCIDRs(prefixes(strings.Fields(test.cidrs)...))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error is %v", test.cidrs, err)
		}
	}
	if err := p.SetCIDRs(make([]netip.Prefix, 1)); err == nil {
		t.Error("the zero prefix is no CIDR")
	}
	if u := p.Usage(); len(u) != 1 || u[0].CIDR.String() != "10.1.0.0/24" {
		t.Errorf("usage is %+v", u)
	}
}

func TestConcurrentCallersGetDifferentAddresses(t *testing.T) {
	p := pool(t, []string{"10.1.0.0/24", "fd00::/64"})
	var (
		mu    sync.Mutex
		seen  = map[netip.Addr]bool{}
		group sync.WaitGroup
	)
	for n := range 200 {
		group.Go(func() {
			r, err := p.Allocate(fmt.Sprint(n))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			for _, addr := range r.Addrs() {
				if seen[addr] {
					t.Errorf("%s was given twice", addr)
				}
				seen[addr] = true
			}
			mu.Unlock()
			r.Commit()
		})
	}
	group.Wait()
}

func TestLargeCIDRRemembersABoundedNumberOfAddresses(t *testing.T) {
	p := pool(t, []string{"fd00::/64"})
	for range 3 * maxFreed {
		commit(t, p, "p")
		p.Free("p")
	}
	s := p.spans[0]
	if len(s.freed) != maxFreed || len(s.freedSet) != maxFreed || len(p.used) != 0 {
		t.Errorf("it remembers %d, %d and %d", len(s.freed), len(s.freedSet), len(p.used))
	}
}

func TestForgottenAddressesAreFoundInTheNextLap(t *testing.T) {
	p := pool(t, []string{"10.0.0.0/18"})
	usable := int(size(p.spans[0].cidr))
	for lap := range 2 {
		for n := range usable {
			commit(t, p, fmt.Sprint(n))
		}
		if _, err := p.Allocate("q"); err == nil {
			t.Fatalf("lap %d: more than %d addresses", lap, usable)
		}
		resync(t, p)
	}
}

func TestGatewayIsTheFirstAddressAfterTheNetworks(t *testing.T) {
	for cidr, want := range map[string]string{"10.1.0.0/24": "10.1.0.1", "10.1.0.0/30": "10.1.0.1", "fd00:1::/64": "fd00:1::1"} {
		if got := Gateway(netip.MustParsePrefix(cidr)); got.String() != want {
			t.Errorf("gateway of %s is %s", cidr, got)
		}
	}
}

func TestServiceSourceIsTheLastAddressAndNoPodsUnlessItHasItAlready(t *testing.T) {
	for cidr, want := range map[string]string{
		"10.1.0.0/24": "10.1.0.254", "10.1.0.0/29": "10.1.0.6", "fd00:1::/64": "fd00:1::ffff:ffff:ffff:ffff", "fd00::/126": "fd00::3",
		// No pod would be left an address.
		"10.1.0.0/30": "invalid IP", "10.1.0.0/31": "invalid IP", "10.1.0.0/32": "invalid IP", "fd00::/127": "invalid IP", "fd00::/128": "invalid IP",
	} {
		if got := ServiceSource(netip.MustParsePrefix(cidr)); got.String() != want {
			t.Errorf("source of %s is %s, want %s", cidr, got, want)
		}
	}
	p := pool(t, []string{"10.1.0.0/29", "fd00::/126"})
	resync(t, p, port("old", "10.1.0.6", "fd00::2"))
	if got := p.ServiceSources(); !slices.Equal(got, addrs("fd00::3")) {
		t.Errorf("while a port has 10.1.0.6 sources are %v", got)
	}
	p.Free("old")
	if got := p.ServiceSources(); !slices.Equal(got, addrs("10.1.0.6", "fd00::3")) {
		t.Errorf("sources are %v", got)
	}
	if got := commit(t, p, "new"); !slices.Equal(got, addrs("10.1.0.2", "fd00::2")) {
		t.Errorf("got %v", got)
	}
	if got := pool(t, []string{"10.1.0.0/30"}).ServiceSources(); len(got) != 0 {
		t.Errorf("sources of a range for one pod are %v", got)
	}
}
