package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/containernetworking/plugins/pkg/testutils"
	"github.com/vishvananda/netlink"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/pkg/cni/podlink"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
	"github.com/sluice-cni/sluice/pkg/ipam"
	"github.com/sluice-cni/sluice/test/need"
)

// timeout bounds what a test waits for; on an idle machine it takes milliseconds.
const timeout = 30 * time.Second

// bed is a server on a socket, with a real Open vSwitch and real records behind
// it. What stands for the policies only keeps account.
type bed struct {
	t        testing.TB
	ovs      *sandbox.Sandbox
	db       *vsdb.DB
	enforcer *ledger
	server   *Server
	bridge   string
	socket   string
}

func newBed(t testing.TB, options ...func(*Options)) *bed {
	t.Helper()
	b := &bed{t: t, ovs: sandboxtest.Start(t, sandbox.Netdev), enforcer: &ledger{ports: map[string]vsdb.Port{}}}
	db, err := vsdb.Dial(b.ctx(), vsdb.Config{Endpoint: b.ovs.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	b.db = db
	// Tap devices of this name appear in the machine's own namespace.
	b.bridge = fmt.Sprintf("brcni%d", os.Getpid())
	if err := db.EnsureBridge(b.ctx(), vsdb.Bridge{
		Name: b.bridge, Gateway: fmt.Sprintf("gwcni%d", os.Getpid()), DatapathType: vsdb.DatapathNetdev,
	}); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Ports: db, Enforcer: b.enforcer, Pool: newPool(t, "10.244.1.0/24", "fd00:244:1::/64"),
		Bridge: b.bridge, MTU: func() int { return 1450 }, ChecksumInSoftware: true,
	}
	for _, f := range options {
		f(&o)
	}
	b.server = NewServer(o)
	b.serve()
	return b
}

func newPool(t testing.TB, cidrs ...string) *ipam.Pool {
	t.Helper()
	var prefixes []netip.Prefix
	for _, c := range cidrs {
		prefixes = append(prefixes, netip.MustParsePrefix(c))
	}
	pool, err := ipam.New(prefixes)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// serve puts the server on a socket until the test is over.
func (b *bed) serve() {
	b.t.Helper()
	b.socket = filepath.Join(b.t.TempDir(), "agent.sock")
	l, err := Listen(b.t.Context(), b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	mux := http.NewServeMux()
	b.server.Register(mux)
	logger := ktesting.NewLogger(b.t, ktesting.NewConfig(ktesting.Verbosity(0)))
	s := &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context {
		return klog.NewContext(context.Background(), logger)
	}}
	var done sync.WaitGroup
	done.Go(func() { s.Serve(l) })
	b.t.Cleanup(func() { s.Close(); done.Wait() })
}

func (b *bed) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	b.t.Cleanup(cancel)
	return ctx
}

// request returns the request of a pod, with more configuration if given, such
// as `"mtu":1400`.
func request(name string, netns ns.NetNS, conf ...string) wire.Request {
	conf = append([]string{`"cniVersion":"1.1.0","name":"sluice","type":"sluice-cni"`}, conf...)
	r := wire.Request{
		ContainerID: "sandbox-of-" + name,
		IfName:      "eth0",
		Args:        "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + name + ";K8S_POD_UID=uid-of-" + name,
		Config:      json.RawMessage("{" + strings.Join(conf, ",") + "}"),
	}
	if netns != nil {
		r.Netns = netns.Path()
	}
	return r
}

// call sends a request over the socket; want is the code of the error it has to
// end with, 0 for none. It returns the result, or the error's text.
func (b *bed) call(cmd wire.Command, req wire.Request, want uint) string {
	b.t.Helper()
	result, err := wire.Call(b.ctx(), b.socket, cmd, req)
	if err == nil && want == 0 {
		return string(result)
	}
	var e *types.Error
	if want == 0 || !errors.As(err, &e) || e.Code != want {
		b.t.Fatalf("%s: error %#v with result %s, want code %d", cmd, err, result, want)
	}
	return e.Error()
}

// add attaches a new pod, which is detached when the test is over.
func (b *bed) add(name string, conf ...string) (ns.NetNS, wire.Request, string) {
	b.t.Helper()
	netns := newNetns(b.t)
	req := request(name, netns, conf...)
	b.t.Cleanup(func() { podlink.Delete(portOf(req)) })
	return netns, req, b.call(wire.Add, req, 0)
}

func portOf(r wire.Request) string { return wire.PortName(r.ContainerID, r.IfName) }

// expectNothing checks that no part of the request's attachment is there.
func (b *bed) expectNothing(req wire.Request) {
	b.t.Helper()
	name := portOf(req)
	if port, err := b.server.find(b.ctx(), name); port != nil || err != nil {
		b.t.Errorf("port %s is %v (%v)", name, port, err)
	}
	b.expectNoLink(req)
	if b.enforcer.has(name) {
		b.t.Errorf("port %s is known to the enforcer", name)
	}
}

func (b *bed) expectNoLink(req wire.Request) {
	b.t.Helper()
	if there, err := podlink.Exists(portOf(req)); there || err != nil {
		b.t.Errorf("link %s exists: %v (%v)", portOf(req), there, err)
	}
}

// newNetns makes a network namespace that is gone when the test is over.
func newNetns(t testing.TB) ns.NetNS {
	t.Helper()
	need.Root(t)
	netns, err := testutils.NewNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(netns.Close(), testutils.UnmountNS(netns)); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Log(err) // the test has removed it itself
		}
	})
	return netns
}

// inPod does something to the pod's eth0.
func inPod(t testing.TB, netns ns.NetNS, f func(netlink.Link) error) {
	t.Helper()
	err := netns.Do(func(ns.NetNS) error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return f(link)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ledger is where the server meets policies: it keeps account of the ports it
// was told, and fails when told to.
type ledger struct {
	mu                     sync.Mutex
	ports                  map[string]vsdb.Port
	set                    int // calls of SetPort
	failSet, failDel, idle error
}

func (l *ledger) SetPort(_ context.Context, p vsdb.Port) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set++
	if l.failSet == nil {
		l.ports[p.Name] = p
	}
	return l.failSet
}

func (l *ledger) DeletePort(_ context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failDel == nil {
		delete(l.ports, name)
	}
	return l.failDel
}

func (l *ledger) CheckPort(_ context.Context, name string) error {
	if !l.has(name) {
		return errors.New("no flows")
	}
	return nil
}

func (l *ledger) Ready(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.idle
}

func (l *ledger) has(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.ports[name]
	return ok
}

func (l *ledger) fail(set, del, ready error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failSet, l.failDel, l.idle = set, del, ready
}
