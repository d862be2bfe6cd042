package ipam

import (
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/ovs/vsdb"
)

func pool(t *testing.T, cidrs []string, reserved ...netip.Addr) *Pool {
	t.Helper()
	p, err := New(prefixes(cidrs...), reserved...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// commit allocates for a port and commits at once.
func commit(t *testing.T, p *Pool, name string) []netip.Addr {
	t.Helper()
	r, err := p.Allocate(name)
	if err != nil {
		t.Fatal(err)
	}
	r.Commit()
	return r.Addrs()
}

func port(name string, list ...string) vsdb.Port {
	return vsdb.Port{Name: name, Attachment: vsdb.Attachment{Addrs: addrs(list...)}}
}

// resync tells the pool that these are all ports there are.
func resync(t *testing.T, p *Pool, ports ...vsdb.Port) {
	t.Helper()
	if err := p.Sync(func() ([]vsdb.Port, error) { return ports, nil }); err != nil {
		t.Fatal(err)
	}
}
