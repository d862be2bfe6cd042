package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluice-cni/sluice/ovs/vsdb"
)

// world is what a pool of one CIDR is compared with: the ports there are, and
// every address with the time of its last use.
type world struct {
	pool    *Pool
	usable  []netip.Addr
	holder  map[netip.Addr]string
	pending map[string]*Reservation
	freed   map[netip.Addr]int // when; absent if never used
	now     int
	ports   int
}

func (w *world) free() (list []netip.Addr) {
	for _, addr := range w.usable {
		if w.holder[addr] == "" {
			list = append(list, addr)
		}
	}
	return list
}

func (w *world) addrOf(port string) netip.Addr {
	for addr, holder := range w.holder {
		if holder == port {
			return addr
		}
	}
	return netip.Addr{}
}

func (w *world) giveBack(port string) {
	addr := w.addrOf(port)
	delete(w.holder, addr)
	w.now++
	w.freed[addr] = w.now
}

// committed lists the ports that are not pending, sorted.
func (w *world) committed() (list []string) {
	for _, port := range w.holder {
		if w.pending[port] == nil {
			list = append(list, port)
		}
	}
	slices.Sort(list)
	return list
}

func (w *world) waiting() (list []string) {
	for port := range w.pending {
		list = append(list, port)
	}
	slices.Sort(list)
	return list
}

func (w *world) allocate(t *rapid.T) {
	w.ports++
	name := fmt.Sprint("p", w.ports)
	free := w.free()
	r, err := w.pool.Allocate(name)
	if len(free) == 0 {
		if err == nil {
			t.Fatalf("%s from a full CIDR", r.Addrs())
		}
		return
	}
	if err != nil {
		t.Fatalf("%v, but free are %v", err, free)
	}
	addr := r.Addrs()[0]
	if !slices.Contains(free, addr) {
		t.Fatalf("%s is not free; free are %v", addr, free)
	}
	for _, other := range free {
		if w.freed[other] < w.freed[addr] {
			t.Fatalf("%s, freed at %d, comes before %s, freed at %d", addr, w.freed[addr], other, w.freed[other])
		}
	}
	w.holder[addr] = name
	w.pending[name] = r
}

func TestAddressesAreNeverSharedAndReusedLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cidr := netip.MustParsePrefix(rapid.SampledFrom([]string{
			"10.1.0.0/30", "10.1.0.8/29", "10.1.0.0/28", "fd00::/126", "fd00::10/124",
		}).Draw(t, "cidr"))
		w := &world{holder: map[netip.Addr]string{}, pending: map[string]*Reservation{}, freed: map[netip.Addr]int{}}
		for addr := first(cidr); addr.Compare(last(cidr)) <= 0; addr = addr.Next() {
			w.usable = append(w.usable, addr)
		}
		var reserved []netip.Addr
		if len(w.usable) > 2 && rapid.Bool().Draw(t, "reserve") {
			i := rapid.IntRange(0, len(w.usable)-1).Draw(t, "reserved")
			reserved = append(reserved, w.usable[i])
			w.usable = slices.Delete(w.usable, i, i+1)
		}
		p, err := New([]netip.Prefix{cidr}, reserved...)
		if err != nil {
			t.Fatal(err)
		}
		w.pool = p
		t.Repeat(map[string]func(*rapid.T){
			"allocate": w.allocate,
			"commit": func(t *rapid.T) {
				if list := w.waiting(); len(list) > 0 {
					port := rapid.SampledFrom(list).Draw(t, "port")
					w.pending[port].Commit()
					delete(w.pending, port)
				}
			},
			"release": func(t *rapid.T) {
				if list := w.waiting(); len(list) > 0 {
					port := rapid.SampledFrom(list).Draw(t, "port")
					w.pending[port].Release()
					delete(w.pending, port)
					w.giveBack(port)
				}
			},
			"free": func(t *rapid.T) {
				if list := w.committed(); len(list) > 0 {
					port := rapid.SampledFrom(list).Draw(t, "port")
					w.pool.Free(port)
					w.giveBack(port)
				}
			},
			"sync": func(t *rapid.T) {
				// A port of which the pool was not told is gone, or none is.
				list := w.committed()
				if len(list) > 0 && rapid.Bool().Draw(t, "lost") {
					i := rapid.IntRange(0, len(list)-1).Draw(t, "port")
					w.giveBack(list[i])
					list = slices.Delete(list, i, i+1)
				}
				var ports []vsdb.Port
				for _, name := range list {
					ports = append(ports, vsdb.Port{Name: name, Attachment: vsdb.Attachment{Addrs: []netip.Addr{w.addrOf(name)}}})
				}
				if err := w.pool.Sync(func() ([]vsdb.Port, error) { return ports, nil }); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				if u := w.pool.Usage()[0]; u.Used != len(w.holder) {
					t.Fatalf("usage is %+v, want %d", u, len(w.holder))
				}
			},
		})
	})
}
