package verdict_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// To follow what comes from another node must not give every pair of addresses that
// speak to each other a megaflow of its own.
func TestFollowingArrivalsCostsOthersFewMegaflows(t *testing.T) {
	b := newBed(t, flows.Watch{PerPort: 1e5, Denied: 1e5, Allowed: 1e5})
	const others = 200
	megaflows := func() int {
		t.Helper()
		if _, err := b.Vswitchd().Call(b.context(), "dpctl/del-flows"); err != nil {
			t.Fatal(err)
		}
		var frames [][]byte
		for i := range others {
			// Pods of another node, to the pod that is spoken of and to another.
			src := netip.AddrFrom4([4]byte{10, 0, byte(1 + i/100), byte(2 + i%100)})
			frames = append(frames, syn(t, podA, src, addrOf(podB), 1000, 80), syn(t, podA, src, addrOf(podC), 1000, 80))
		}
		if err := b.Receive(b.context(), cluster.Key{}, frames...); err != nil {
			t.Fatal(err)
		}
		out, err := b.Vswitchd().Call(b.context(), "dpctl/dump-flows")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(strings.TrimSpace(out), "\n") + 1
	}
	before := megaflows()
	_, stop := b.follow(api.LiveRequest{Protocol: "tcp", Seconds: 60, Arrivals: []api.LiveArrival{{By: api.ByRoute, From: "10.0.1.7", To: addrOf(podB).String(), Port: 80}}})
	if err := b.Settle(b.context()); err != nil {
		t.Fatal(err)
	}
	now := megaflows()
	stop()
	t.Logf("%d others: %d megaflows, while packets are followed %d", others, before, now)
	if now > before+2*32 { // at most one for each bit of an address, before tracking and after it
		t.Errorf("%d megaflows, before %d", now, before)
	}
}
