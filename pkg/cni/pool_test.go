package cni

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/ovs/vsdb"
)

type pool struct {
	mu    sync.Mutex
	next  []netip.Addr
	cidrs []netip.Prefix
	gws   []netip.Addr
}

func newPool(t *testing.T, db *vsdb.DB, cidrs ...string) IPAM {
	p := &pool{}
	for _, c := range cidrs {
		pfx := netip.MustParsePrefix(c)
		p.cidrs = append(p.cidrs, pfx)
		p.gws = append(p.gws, pfx.Addr().Next())
		p.next = append(p.next, pfx.Addr().Next().Next())
	}
	return p
}
func (p *pool) Gateways() []netip.Addr { return p.gws }
func (p *pool) Pick(a *vsdb.Attachment) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	a.Addrs = nil
	for i := range p.next {
		if !p.cidrs[i].Contains(p.next[i]) {
			return errors.New("full")
		}
		a.Addrs = append(a.Addrs, p.next[i])
		p.next[i] = p.next[i].Next()
	}
	b := a.Addrs[0].AsSlice()
	a.MAC = net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}
	return nil
}
