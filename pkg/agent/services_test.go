package agent

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/entry"
	"github.com/sluice-cni/sluice/pkg/route"
	"github.com/sluice-cni/sluice/pkg/service/health"
	"github.com/sluice-cni/sluice/test/need"
	"github.com/sluice-cni/sluice/test/netns"
)

// patience is how long what is to happen may take.
const patience = 10 * time.Second

// own makes a network namespace with a gateway of 10.244.0.1.
func own(t *testing.T) *netns.Netns {
	t.Helper()
	need.Root(t)
	ns, err := netns.Create(filepath.Join(netns.Dir, fmt.Sprintf("agent-%d", os.Getpid())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	err = ns.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "sluice0"
		link := netlink.NewVeth(attrs)
		link.PeerName = "bridge"
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		addr, err := netlink.ParseAddr("10.244.0.1/24")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	})
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// The loop writes nothing before it knows both the node and the balancers that
// there were: what an agent before it wrote must not be lost.
func TestTheKernelFollowsTheBalancers(t *testing.T) {
	nft := need.Tool(t, "nft", "apt-get install nftables")
	ns := own(t)
	s, err := newServices("sluice0", health.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{services: s}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- ns.Do(func() error {
			if err := route.Watch(ctx, func(string) bool { return false }, n.changed); err != nil {
				return err
			}
			return n.runServices(ctx)
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	run := func(args ...string) (out string) {
		t.Helper()
		err := ns.Do(func() error {
			text, err := exec.CommandContext(t.Context(), nft, args...).CombinedOutput()
			out = string(text)
			return err
		})
		if err != nil {
			t.Errorf("nft %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return out
	}
	want := func(what, text string) {
		t.Helper()
		var got string
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
			if got = run("list", "ruleset"); strings.Contains(got, text) {
				return
			}
		}
		t.Fatalf("%s: there is no %q in\n%s", what, text, got)
	}
	balancer := func(port uint16) *flows.Balancer {
		b := &flows.Balancer{Protocol: flows.TCP, Frontends: []flows.Frontend{{Addr: netip.MustParseAddr("10.96.0.10"), Port: 80}, {Port: port}}}
		b.Endpoints[flows.ScopeCluster] = []netip.AddrPort{netip.MustParseAddrPort("10.244.0.5:80")}
		return b
	}
	run("add", "table", "inet", route.ServiceTable)
	run("add", "chain", "inet", route.ServiceTable, "earlier")

	n.setBalancers([]flows.BalancerChange{{Key: "a", Balancer: balancer(30001)}})
	s.lookAt(route.CheckAll)
	if got := run("list", "ruleset"); !strings.Contains(got, "earlier") {
		t.Errorf("without the node's addresses there is\n%s", got)
	}
	s.setLocal(entry.Local{Sources: []netip.Addr{netip.MustParseAddr("10.244.0.1")}})
	want("one balancer", "elements = { tcp . 30001 }")
	n.setBalancers([]flows.BalancerChange{{Key: "b", Balancer: balancer(30002)}})
	want("another", "tcp . 30002")
	run("flush", "ruleset")
	want("after a firewall reloaded", "tcp . 30002")
	n.setBalancers([]flows.BalancerChange{{Key: "a"}})
	want("one goes", "elements = { tcp . 30002 }")

	// Somebody else balances Services from now on.
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	ended <- ns.Do(func() error { return (&node{}).runServices(t.Context()) })
	if got := run("list", "ruleset"); got != "" {
		t.Errorf("what is left:\n%s", got)
	}
}
