package route_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/bed/bedtest"
	"github.com/sluice-cni/sluice/test/need"
)

const patience = 10 * time.Second

// The other node is the bed's router: what is outside of the bed answers for its
// pods too.
const twoNodes = `
apiVersion: v1
kind: Node
metadata: {name: node0}
spec: {podCIDRs: [10.244.0.0/24, "fd00:10:244::/64"]}
status:
  addresses:
  - {type: InternalIP, address: 172.18.0.2}
  - {type: InternalIP, address: "fd00:172:18::2"}
---
apiVersion: v1
kind: Node
metadata: {name: node1}
spec: {podCIDRs: [10.244.1.0/24, "fd00:10:244:1::/64"]}
status:
  addresses:
  - {type: InternalIP, address: 172.18.0.1}
  - {type: InternalIP, address: "fd00:172:18::1"}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db}
`

var (
	stranger4, stranger6 = netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8:113::10")
	// Pods of the other node.
	distant4, distant6 = netip.MustParseAddr("10.244.1.5"), netip.MustParseAddr("fd00:10:244:1::5")
)

func start(t *testing.T, mode nodes.Mode) *bed.Bed {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(twoNodes), 0o600); err != nil {
		t.Fatal(err)
	}
	return bedtest.Start(t, bed.Options{
		Manifests: dir, Mode: mode, Outside: []netip.Addr{stranger4, stranger6, distant4, distant6},
	})
}

// sourceOf returns the address that a server at an address of a host sees when
// another connects.
func sourceOf(t *testing.T, from, to *bed.Host, at netip.Addr) netip.Addr {
	t.Helper()
	var l net.Listener
	err := to.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", netip.MustParseAddrPort(l.Addr().String()))
	if err != nil {
		t.Fatalf("from %s to %s: %v", from.Name, at, err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
}

func onNode(t *testing.T, b *bed.Bed, tool string, args ...string) string {
	t.Helper()
	path := need.Tool(t, tool, "apt-get install nftables iproute2")
	var out []byte
	err := b.Node.Do(func() (err error) {
		out, err = exec.CommandContext(t.Context(), path, args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s %s: %v: %s", tool, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// eventually waits until f returns nil.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestOnlyWhatPodsSendOutsideHasTheNodesAddress(t *testing.T) {
	b := start(t, nodes.NoEncap)
	web, err := b.AddPod(t.Context(), "shop", "web", "")
	if err != nil {
		t.Fatal(err)
	}
	db, err := b.AddPod(t.Context(), "shop", "db", "")
	if err != nil {
		t.Fatal(err)
	}
	masked := func() error {
		if rules := onNode(t, b, "nft", "list", "ruleset"); !strings.Contains(rules, "10.244.1.0/24") {
			return fmt.Errorf("rules are:\n%s", rules)
		}
		return nil
	}
	eventually(t, "the other node's range to be known to the rules", masked)
	node := b.Node
	check := func() {
		t.Helper()
		for _, family := range []int{4, 6} {
			pick := func(a4, a6 netip.Addr) netip.Addr {
				if family == 4 {
					return a4
				}
				return a6
			}
			stranger, distant := b.Outside(pick(stranger4, stranger6)), b.Outside(pick(distant4, distant6))
			gateway := pick(netip.MustParseAddr("10.244.0.1"), netip.MustParseAddr("fd00:10:244::1"))
			for _, tc := range []struct {
				from, to *bed.Host
				want     netip.Addr
			}{
				{&web.Host, stranger, node.Addr(family)},
				{&web.Host, distant, web.Addr(family)},
				{&web.Host, &db.Host, web.Addr(family)},
				{&web.Host, node, web.Addr(family)},
				{stranger, &web.Host, stranger.Addr(family)},
				{distant, &web.Host, distant.Addr(family)},
				{node, &web.Host, gateway},
				{node, stranger, node.Addr(family)},
			} {
				if got := sourceOf(t, tc.from, tc.to, tc.to.Addr(family)); got != tc.want {
					t.Errorf("%s sees %s come from %s, want %s", tc.to.Name, tc.from.Name, got, tc.want)
				}
			}
		}
	}
	check()

	// A firewall that reloads takes all rules away, and the node has them again.
	onNode(t, b, "nft", "flush", "ruleset")
	eventually(t, "the rules to be there again", masked)
	check()
}

// A route that somebody else has made to another node's pods is left, and pods are
// attached all the same.
func TestARouteOfAnotherKeepsNoPodFromBeingAttached(t *testing.T) {
	b := start(t, nodes.Encap)
	const there, foreign = "10.244.1.0/24", "10.244.1.0/24 via 172.18.0.1 dev uplink proto static"
	routes := func(want string) func() error {
		return func() error {
			if got := onNode(t, b, "ip", "-4", "route", "show", there); !strings.Contains(got, want) {
				return fmt.Errorf("routes are %q, want %q", got, want)
			}
			return nil
		}
	}
	eventually(t, "the route", routes("dev sluice0"))
	// In place of ours, of which the kernel does not tell: another change has the
	// agent look.
	onNode(t, b, "ip", append([]string{"-4", "route", "replace"}, strings.Fields(foreign)...)...)
	onNode(t, b, "ip", "addr", "add", "172.18.0.77/24", "dev", "uplink")
	eventually(t, "the agent to speak of it", func() error {
		log, err := os.ReadFile(b.AgentLog())
		if err == nil && !strings.Contains(string(log), "there is one to "+there+" already") {
			err = errors.New("it does not")
		}
		return err
	})
	if _, err := b.AddPod(t.Context(), "shop", "web", ""); err != nil {
		t.Error(err)
	}
	if err := routes("proto static")(); err != nil {
		t.Error(err)
	}
	onNode(t, b, "ip", "-4", "route", "del", there)
	eventually(t, "the route to be the agent's again", routes("dev sluice0"))
}

func TestTheNodeHasRoutesToOtherNodesPods(t *testing.T) {
	way := map[nodes.Mode]nodes.Mode{nodes.Encap: nodes.Encap, nodes.Hybrid: nodes.NoEncap}
	for mode, want := range map[nodes.Mode][2]string{
		nodes.Encap: {
			"10.244.1.0/24 via 10.244.1.1 dev sluice0 proto 83 src 10.244.0.1 onlink",
			"fd00:10:244:1::/64 via fd00:10:244:1::1 dev sluice0 proto 83 src fd00:10:244::1 metric 1024 onlink pref medium",
		},
		nodes.Hybrid: {
			"10.244.1.0/24 via 172.18.0.1 dev uplink proto 83",
			"fd00:10:244:1::/64 via fd00:172:18::1 dev uplink proto 83 metric 1024 pref medium",
		},
	} {
		t.Run(string(mode), func(t *testing.T) {
			b := start(t, mode)
			there := func() error {
				got := onNode(t, b, "ip", "-4", "route") + onNode(t, b, "ip", "-6", "route")
				got = strings.Join(strings.Fields(got), " ")
				for _, w := range want {
					if !strings.Contains(got, w) {
						return errors.New("no route " + w + " in " + got)
					}
				}
				return nil
			}
			eventually(t, "routes", there)
			status, err := b.Client().Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n := status.Network; n == nil || n.Mode != string(mode) || n.Tunnel != "geneve" || n.Uplink != "uplink" || n.UplinkMTU != 1500 || n.MTU != 1450 {
				t.Errorf("the agent tells %+v of the network", n)
			}
			ways, err := b.Client().Nodes(t.Context())
			if err != nil || len(ways) != 2 || ways[0] != (api.Node{Name: "node1", PodCIDR: "10.244.1.0/24", Way: string(way[mode]), Via: "172.18.0.1"}) {
				t.Errorf("the agent tells %v of ways, error %v", ways, err)
			}
			onNode(t, b, "ip", "-4", "route", "flush", "proto", "83")
			eventually(t, "routes to be there again", there)
			pod, err := b.AddPod(t.Context(), "shop", "web", "")
			if err != nil {
				t.Fatal(err)
			}
			if err := pod.Do(func() error {
				i, err := net.InterfaceByName("eth0")
				if err == nil && i.MTU != 1450 {
					err = fmt.Errorf("the MTU is %d, want 1450", i.MTU)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
