// Package bed is one node with its pods on real parts: an Open vSwitch of its
// own, the sluice-agent and the sluice-cni plugin as processes, pods that real CNI
// calls attach, and hosts outside of the cluster.
//
//	outside ──veth── node: uplink … sluice0 ─┐
//	                                    br-sluice (private OVS, agent)
//	pod eth0 ──veth──────────────────────────┤
//	pod eth0 ──veth──────────────────────────┘
//
// The node, each pod and the outside are network namespaces. Nothing is seen in
// the machine's own namespace, and Close leaves nothing. It needs root.
package bed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/nodes"
	"github.com/sluice-cni/sluice/pkg/observe/client"
)

// Bridge is the bridge's name.
const Bridge = "br-sluice"

// Options say what bed to start. The zero value follows no cluster and can't be
// started: one of Manifests and Kubeconfig has to be set.
type Options struct {
	// Datapath is sandbox.Netdev or sandbox.System; empty means Netdev.
	Datapath string
	// NodeName is the name of the node; empty means "node0".
	NodeName string
	// PodCIDRs are the node's pod ranges; nil means 10.244.0.0/24 and
	// fd00:10:244::/64. An empty list that is not nil leaves them to the Node object.
	PodCIDRs []netip.Prefix
	// Manifests is a folder of manifests for the agent to follow.
	Manifests string
	// Kubeconfig is the kubeconfig of an API server for the agent to follow. An API
	// server on a loopback address of this machine is reached through Forward.
	Kubeconfig string
	// Forward is a loopback address of the node ("127.1.2.3:6443") from which TCP
	// connections are carried to the same address of this machine.
	Forward netip.AddrPort
	// Number is the node's among those of a cluster, from 2 on; it decides NodeAddrs.
	// Zero means 2.
	Number uint8
	// Outside are the addresses of hosts outside of the cluster.
	Outside []netip.Addr
	// MTU of the pods' interfaces in bytes; zero means the agent's default.
	MTU int
	// Mode is the agent's --mode; empty means its default.
	Mode nodes.Mode
	// AgentArgs are further flags of the agent.
	AgentArgs []string
	// RequestTimeout is that of the CNI configuration, such as "4s"; empty means the
	// plugin's default.
	RequestTimeout string
	// Bin is the folder of the binaries; empty means that of the environment
	// variable SLUICE_BIN, and if that is empty too they are built.
	Bin string
}

// Bed is a running node. Its methods are safe for concurrent use, except that
// those that start, stop and close parts are for one owner.
type Bed struct {
	// Node is the node's own network stack.
	Node *Host
	// OVS is the node's Open vSwitch.
	OVS *sandbox.Sandbox

	opts    Options
	dir     string
	prefix  string // of the names of namespaces
	bin     string
	cni     *plugin
	agent   *process // nil while stopped
	forward *forwarder
	outside *Netns
	// outsiders are the hosts outside, by address.
	outsiders map[netip.Addr]*Host

	mu   sync.Mutex
	pods map[*Pod]bool // attached, or with a namespace that is still there
}

// beds counts the beds of this process, for names.
var beds atomic.Uint32

// Start starts a node and returns when pods can be attached to it. ctx bounds the
// start only; if it ends, or a part fails, what has been started is taken away
// again.
func Start(ctx context.Context, opts Options) (*Bed, error) {
	if opts.Datapath == "" {
		opts.Datapath = sandbox.Netdev
	}
	if opts.NodeName == "" {
		opts.NodeName = "node0"
	}
	if opts.Number == 0 {
		opts.Number = 2
	}
	if opts.PodCIDRs == nil {
		opts.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("fd00:10:244::/64")}
	}
	b := &Bed{
		opts: opts, pods: map[*Pod]bool{}, outsiders: map[netip.Addr]*Host{},
		prefix: fmt.Sprintf("sl%d-%d-", os.Getpid(), beds.Add(1)),
	}
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start node %s: %w", opts.NodeName, err), b.Close())
	}
	return b, nil
}

func (b *Bed) start(ctx context.Context) (err error) {
	// Not os.TempDir: TMPDIR may be too long a name for sockets.
	if b.dir, err = os.MkdirTemp("/tmp", "sluice-bed-"+b.prefix); err != nil {
		return err
	}
	if b.bin, err = findBinaries(ctx, b.opts.Bin, b.path("bin")); err != nil {
		return err
	}
	netns, err := newNetns(b.prefix + "node")
	if err != nil {
		return err
	}
	b.Node = &Host{Netns: netns, Name: b.opts.NodeName, Addrs: NodeAddrs(b.opts.Number)}
	if err := netns.Do(forwardPackets); err != nil {
		return err
	}
	if err := b.connectOutside(); err != nil {
		return err
	}
	if b.opts.Forward.IsValid() {
		if b.forward, err = forward(netns, b.opts.Forward); err != nil {
			return err
		}
	}
	b.OVS, err = sandbox.Start(ctx, sandbox.Options{Datapath: b.opts.Datapath, Dir: b.path("ovs"), Netns: netns.Path()})
	if err != nil {
		return err
	}
	if b.cni, err = newPlugin(b); err != nil {
		return err
	}
	return b.StartAgent(ctx)
}

func (b *Bed) path(name string) string { return filepath.Join(b.dir, name) }

// Socket returns the path of the agent's socket.
func (b *Bed) Socket() string { return b.path("agent.sock") }

// Client returns a client of the agent.
func (b *Bed) Client() *client.Client { return client.New(b.Socket()) }

// Close ends all processes and removes all that was made. A second Close does
// nothing.
func (b *Bed) Close() error {
	// Also for a caller whose context has ended.
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	var errs []error
	if b.agent != nil {
		errs = append(errs, b.StopAgent(ctx))
	}
	if b.forward != nil {
		errs = append(errs, b.forward.close())
		b.forward = nil
	}
	if b.OVS != nil {
		errs = append(errs, b.OVS.Close())
	}
	b.mu.Lock()
	for p := range b.pods {
		errs = append(errs, p.release())
	}
	clear(b.pods)
	b.mu.Unlock()
	if b.Node != nil {
		errs = append(errs, b.Node.release())
	}
	for _, h := range b.outsiders {
		errs = append(errs, h.release())
	}
	if b.outside != nil {
		errs = append(errs, b.outside.Delete())
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close node %s: %w", b.opts.NodeName, err)
	}
	return nil
}
