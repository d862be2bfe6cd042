package bed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/test/bed"
	"github.com/sluice-cni/sluice/test/bed/bedtest"
	"github.com/sluice-cni/sluice/test/need"
)

const (
	soon = 10 * time.Second       // for what is to happen
	wait = 300 * time.Millisecond // for what is not
)

// The policy lets role=api and one network outside reach the database.
const manifests = `
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: api, labels: {role: api}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: other}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db-guard}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from:
    - podSelector: {matchLabels: {role: api}}
    - ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}
    - ipBlock: {cidr: "2001:db8:113::/48"}
    ports:
    - port: 5432
    - {protocol: UDP, port: 5432}
`

var (
	partner4 = netip.MustParseAddr("203.0.113.10")
	guest4   = netip.MustParseAddr("203.0.113.200")
	partner6 = netip.MustParseAddr("2001:db8:113::10")
	guest6   = netip.MustParseAddr("2001:db8:51::10")
)

func folder(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRealPacketsMeetPolicies(t *testing.T) {
	b := bedtest.Start(t, bed.Options{
		Manifests: folder(t, manifests), Outside: []netip.Addr{partner4, guest4, partner6, guest6},
	})
	pods := map[string]*bed.Pod{}
	for _, name := range []string{"db", "api", "other"} {
		p, err := b.AddPod(t.Context(), "shop", name, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(t.Context()); err != nil {
			t.Error(err)
		}
		pods[name] = p
	}
	hosts := append([]*bed.Host{b.Node}, b.Outside(partner4), b.Outside(guest4), b.Outside(partner6), b.Outside(guest6))
	for _, p := range pods {
		hosts = append(hosts, &p.Host)
	}
	for _, h := range hosts {
		for _, network := range []string{"tcp", "udp"} {
			if h.Addr(4) == partner4 || !slices.Contains(hosts[1:5], h) {
				if _, err := h.Serve(network, 5432); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// A pod has its policies when the agent has heard of both.
	waitFor(t, "shop/db to be isolated and shop/other to be open", func() bool {
		ports, err := b.Client().Ports(t.Context())
		states := map[string]string{}
		for _, p := range ports {
			states[p.Pod] = p.State
		}
		return err == nil && states["shop/db"] == "isolated" && states["shop/other"] == "open" && states["shop/api"] == "open"
	})
	db := pods["db"]
	for _, tc := range []struct {
		from    *bed.Host
		to      *bed.Host
		allowed bool
	}{
		{&pods["api"].Host, &db.Host, true},
		{&pods["other"].Host, &db.Host, false},
		{b.Outside(partner4), &db.Host, true},
		{b.Outside(guest4), &db.Host, false},
		{b.Outside(partner6), &db.Host, true},
		{b.Outside(guest6), &db.Host, false},
		{b.Node, &db.Host, true},
		{&db.Host, &db.Host, true},
		{&db.Host, &pods["other"].Host, true},
		{&db.Host, b.Outside(partner4), true},
	} {
		for _, family := range []int{4, 6} {
			if !tc.from.Addr(family).IsValid() || !tc.to.Addr(family).IsValid() {
				continue
			}
			for _, network := range []string{"tcp", "udp"} {
				limit := soon
				if !tc.allowed {
					limit = wait
				}
				err := tc.from.Probe(t.Context(), network, netip.AddrPortFrom(tc.to.Addr(family), 5432), limit)
				if tc.allowed && err != nil || !tc.allowed && !errors.Is(err, bed.ErrNoAnswer) {
					t.Errorf("%s -> %s IPv%d %s: %v, want allowed: %v", tc.from.Name, tc.to.Name, family, network, err, tc.allowed)
				}
			}
		}
	}
	x, err := b.Client().Trace(t.Context(), api.TraceRequest{From: "shop/other", To: "shop/db", Protocol: "tcp", Port: 5432})
	if err != nil || x.Verdict != api.Denied {
		t.Errorf("trace: %+v, %v", x, err)
	}
	if err := b.DeletePod(t.Context(), db); err != nil {
		t.Error(err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	need.Root(t)
	before := traces(t)
	b := bedtest.Start(t, bed.Options{Manifests: folder(t, manifests), Outside: []netip.Addr{partner4}})
	p, err := b.AddPod(t.Context(), "shop", "db", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Serve("tcp", 80); err != nil {
		t.Fatal(err)
	}
	if during := traces(t); slices.Equal(before, during) {
		t.Fatal("a bed that runs leaves no trace: this test sees nothing")
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("there was\n%s\nand now is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	need.Root(t)
	before := traces(t)
	bin := t.TempDir()
	if err := bed.Build(t.Context(), bin); err != nil {
		t.Fatal(err)
	}
	for what, opts := range map[string]bed.Options{
		"no folder of binaries": {Bin: filepath.Join(bin, "nowhere")},
		"agent that ends":       {Bin: bin, Manifests: "relative", MTU: 1},
		"address twice":         {Bin: bin, Outside: []netip.Addr{partner4, partner4}},
	} {
		b, err := bed.Start(t.Context(), opts)
		if err == nil {
			t.Errorf("%s: it started", what)
			b.Close()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bed.Start(ctx, bed.Options{Bin: bin, Manifests: folder(t, manifests)}); !errors.Is(err, context.Canceled) {
		t.Errorf("start in a context that has ended: %v", err)
	}
	if after := traces(t); !slices.Equal(before, after) {
		t.Errorf("there was\n%s\nand now is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// traces lists what this process's beds may leave: namespaces, folders, links, and
// child processes.
func traces(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"/run/netns/sl%d-*", "/tmp/sluice-bed-sl%d-*"} {
		names, err := filepath.Glob(fmt.Sprintf(pattern, os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names...)
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, fmt.Sprintf("/run/netns/sl%d-", os.Getpid())) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if name := l.Attrs().Name; name == bed.Bridge || name == "sluice0" || name == "uplink" {
			found = append(found, "link "+name)
		}
	}
	children, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range children {
		// The thread may have ended.
		if pids, err := os.ReadFile(c); err == nil && len(bytes.TrimSpace(pids)) > 0 {
			found = append(found, "children "+string(bytes.TrimSpace(pids)))
		}
	}
	return found
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(soon)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", soon, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
