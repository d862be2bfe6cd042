package nodes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/need"
)

// emulated is true in the machine of test/kernel, whose kernel has the datapath.
var emulated = os.Getenv("SLUICE_KERNEL") != ""

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

var (
	datapath = choose(emulated, sandbox.System, sandbox.Netdev)
	soon     = choose(emulated, 5*time.Minute, 30*time.Second)                    // for what is to happen
	silence  = choose(emulated, time.Second, 400*time.Millisecond)                // for what is not
	again    = choose(emulated, 3*time.Second, 500*time.Millisecond)              // after which a probe is sent again
	names    = [2]string{"node-a", "node-b"}                                      // of the nodes
	ranges   = [2]string{"10.245.%d.0/24", "fd00:10:245:%d::/64"}                 // of their pods
	link     = [2]netip.Prefix{prefix("192.0.2.0/24"), prefix("2001:db8:1::/64")} // of the underlay
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

const (
	underlay = "under" // the interface that has a node's addresses
	wire     = "wire"  // what leads to the other node
	mtu      = 1500    // of it
)

// node is one of the two.
type node struct {
	*bed.Bed
	number int
	addrs  []netip.Addr // what its Node object lists
	pods   map[string]*bed.Pod
}

// pair are two nodes and what their agents are told.
type pair struct {
	a, b *node
	more string // manifests beside those of the nodes and pods
	dir  string
}

// start starts two nodes whose underlay is a link between them.
func start(t *testing.T) *pair {
	t.Helper()
	need.Root(t)
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	need.Tool(t, "nft", "apt-get install nftables")
	p := &pair{dir: t.TempDir()}
	ctx := within(t)
	bin := os.Getenv(bed.BinEnv)
	if bin == "" {
		bin = t.TempDir()
		if err := bed.Build(ctx, bin); err != nil {
			t.Fatal(err)
		}
	}
	p.a, p.b = &node{number: 1}, &node{number: 2}
	for _, n := range p.both() {
		n.pods = map[string]*bed.Pod{}
		n.addrs = []netip.Addr{address(link[0], n.number), address(link[1], n.number)}
	}
	p.write(t)
	var group errgroup.Group
	for i, n := range p.both() {
		group.Go(func() (err error) {
			n.Bed, err = bed.Start(ctx, bed.Options{
				Datapath: datapath, NodeName: names[i], Number: uint8(n.number + 1), PodCIDRs: []netip.Prefix{}, Manifests: p.dir, Bin: bin,
			})
			return err
		})
	}
	err := group.Wait()
	t.Cleanup(func() {
		for _, n := range p.both() {
			if n.Bed == nil {
				continue
			}
			if text, err := os.ReadFile(n.AgentLog()); err == nil && t.Failed() {
				t.Logf("the log of the agent of node %d:\n%s", n.number, text)
			}
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	p.join(t)
	return p
}

func (p *pair) both() []*node { return []*node{p.a, p.b} }

// address is a node's address, or another one, in a range.
func address(of netip.Prefix, number int) netip.Addr {
	bytes := of.Addr().AsSlice()
	bytes[len(bytes)-1] += byte(number)
	a, _ := netip.AddrFromSlice(bytes)
	return a
}

// join makes the link between the nodes.
func (p *pair) join(t *testing.T) {
	t.Helper()
	peer, err := os.Open(p.b.Node.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	name := choose(datapath == sandbox.System, underlay, wire)
	err = p.a.Node.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = name, mtu
		veth := netlink.NewVeth(attrs)
		veth.PeerName, veth.PeerNamespace, veth.PeerMTU = name, netlink.NsFd(peer.Fd()), mtu
		return netlink.LinkAdd(veth)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range p.both() {
		if name == wire {
			// Tunnels of ovs-vswitchd leave by a bridge of its own only.
			n.on(t, func() error { return up(wire) })
			sandboxtest.Run(t, n.OVS, "ovs-vsctl", "add-br", underlay, "--", "set", "bridge", underlay, "datapath_type=netdev",
				"--", "add-port", underlay, wire)
		}
		n.on(t, func() error {
			for i, a := range n.addrs {
				if err := setAddr(netlink.AddrAdd, a, link[i].Bits()); err != nil {
					return err
				}
			}
			return up(underlay)
		})
	}
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// setAddr adds or removes an address of the underlay, in the namespace of the
// calling thread.
func setAddr(do func(netlink.Link, *netlink.Addr) error, a netip.Addr, bits int) error {
	l, err := netlink.LinkByName(underlay)
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}}
	if a.Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return do(l, addr)
}

// on runs f in the node's namespace.
func (n *node) on(t *testing.T, f func() error) {
	t.Helper()
	if err := n.Node.Do(f); err != nil {
		t.Fatal(err)
	}
}

// cidrs are the node's pod ranges.
func (n *node) cidrs() []string {
	return []string{fmt.Sprintf(ranges[0], n.number), fmt.Sprintf(ranges[1], n.number)}
}

// pod attaches a pod that serves TCP and UDP on port 80.
func (p *pair) pod(t *testing.T, n *node, name string) *bed.Pod {
	t.Helper()
	pod, err := n.AddPod(within(t), "shop", name, "")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, &pod.Host)
	n.pods[name] = pod
	return pod
}

func serve(t *testing.T, h *bed.Host) {
	t.Helper()
	for _, network := range []string{"tcp", "udp"} {
		if _, err := h.Serve(network, port); err != nil {
			t.Fatal(err)
		}
	}
}

// write tells the agents of the nodes, their pods and the rest.
func (p *pair) write(t *testing.T) {
	t.Helper()
	var text strings.Builder
	for i, n := range p.both() {
		fmt.Fprintf(&text, "apiVersion: v1\nkind: Node\nmetadata: {name: %s}\nspec: {podCIDRs: [%q, %q]}\nstatus:\n  addresses:\n", names[i], n.cidrs()[0], n.cidrs()[1])
		for _, a := range n.addrs {
			fmt.Fprintf(&text, "  - {type: InternalIP, address: %q}\n", a)
		}
		text.WriteString("---\n")
		for name, pod := range n.pods {
			fmt.Fprintf(&text, "apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop, name: %s, labels: {app: %[1]s}}\nspec: {nodeName: %s}\n", name, names[i])
			fmt.Fprintf(&text, "status: {phase: Running, podIPs: [{ip: %q}, {ip: %q}]}\n---\n", pod.Addr(4), pod.Addr(6))
		}
	}
	text.WriteString(p.more)
	// In one step: a file that is half written would be read.
	next := filepath.Join(p.dir, "all.yaml.next")
	err := os.WriteFile(next, []byte(text.String()), 0o600)
	if err == nil {
		err = os.Rename(next, strings.TrimSuffix(next, ".next"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// restart starts both agents anew.
func (p *pair) restart(t *testing.T, mode nodes.Mode, args ...string) {
	t.Helper()
	ctx := within(t)
	var group errgroup.Group
	for _, n := range p.both() {
		group.Go(func() error {
			if err := n.StopAgent(ctx); err != nil {
				return err
			}
			n.SetAgent(mode, args...)
			return n.StartAgent(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// mtuIs waits until a node has worked out the MTU of pods.
func (n *node) mtuIs(t *testing.T, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("the MTU of pods on node %d is %d", n.number, want), func(ctx context.Context) error {
		s, err := n.Client().Status(ctx)
		if err == nil && (s.Network == nil || s.Network.Uplink != underlay || s.Network.MTU != want) {
			err = fmt.Errorf("status %+v", s.Network)
		}
		return err
	})
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), soon)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until there is no error.
func eventually(t testing.TB, what string, ask func(context.Context) error) {
	t.Helper()
	ctx := within(t)
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v; last: %v", what, context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// port is served by all.
const port = 80

// way is a question: does what one host sends to an address arrive?
type way struct {
	from    *bed.Host
	to      netip.AddrPort
	name    string
	allowed bool
}

// ways are the ways to each of a host's addresses.
func ways(from, to *bed.Host, allowed bool) (all []way) {
	for _, a := range to.Addrs {
		all = append(all, way{from, netip.AddrPortFrom(a, port), to.Name, allowed})
	}
	return all
}

// try sends TCP and UDP on all ways. What is to arrive is sent again for a while;
// what is not, once all of that has arrived.
func try(t *testing.T, all ...[]way) {
	t.Helper()
	each := func(allowed bool, f func(ctx context.Context, network string, w way) error) {
		ctx := within(t)
		var group errgroup.Group
		for _, w := range slices.Concat(all...) {
			if w.allowed != allowed {
				continue
			}
			for _, network := range []string{"tcp", "udp"} {
				group.Go(func() error {
					if err := f(ctx, network, w); err != nil {
						t.Errorf("%s -> %s: %v", w.from.Name, w.name, err)
					}
					return nil
				})
			}
		}
		_ = group.Wait()
	}
	each(true, func(ctx context.Context, network string, w way) error {
		for {
			err := w.from.Probe(ctx, network, w.to, again)
			if err == nil || ctx.Err() != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond) // others need the processor too
		}
	})
	each(false, func(ctx context.Context, network string, w way) error {
		err := w.from.Probe(ctx, network, w.to, silence)
		if errors.Is(err, bed.ErrNoAnswer) {
			return nil
		}
		return fmt.Errorf("%w, want no answer to %s %s", err, network, w.to)
	})
}
