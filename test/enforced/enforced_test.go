// Package enforced compares what Open vSwitch does with the oracle: random
// clusters and policies are compiled, loaded into a real ovs-vswitchd, and
// traced.
package enforced

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
	"github.com/sluice-cni/sluice/test/need"
	"github.com/sluice-cni/sluice/test/oracle"
	"github.com/sluice-cni/sluice/test/random"
)

var (
	seedFlag  = flag.Uint64("sluice.seed", 0, "seed of the random clusters; 0 takes one from the clock")
	probeFlag = flag.Int("sluice.probes", 10000, "how many connections to trace at least")
)

// bed is a simulated node that follows a random cluster.
type bed struct {
	*simulate.Bed
	t        testing.TB
	attached map[cluster.Key]string // pod -> uid
}

func start(t testing.TB, w *random.Cluster) *bed {
	t.Helper()
	var o simulate.Options
	for _, n := range w.Nodes {
		node, err := cluster.TrimNode(n)
		if err != nil {
			t.Fatal(err)
		}
		if n.Name == w.Node {
			o = simulate.Options{Node: n.Name, PodCIDRs: node.PodCIDRs, Addrs: node.Addrs}
		}
	}
	b, err := simulate.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	bed := &bed{Bed: b, t: t, attached: map[cluster.Key]string{}}
	for _, p := range w.Pods {
		bed.attach(p, w.Node)
	}
	var events []cluster.Event
	for _, n := range w.Namespaces {
		events = append(events, cluster.Event{Namespace: cluster.TrimNamespace(n)})
	}
	for _, p := range w.Pods {
		events = append(events, bed.podEvent(p, false))
	}
	for _, p := range w.Policies {
		events = append(events, cluster.Event{Policy: cluster.TrimPolicy(p)})
	}
	bed.Emit(append(events, cluster.Event{Synced: true}))
	bed.sync()
	return bed
}

func (b *bed) sync() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	if err := b.Sync(ctx); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) podEvent(p *corev1.Pod, deleted bool) cluster.Event {
	trimmed, err := cluster.TrimPod(p)
	if err != nil {
		b.t.Fatal(err)
	}
	return cluster.Event{Pod: trimmed, Deleted: deleted}
}

// attach keeps the port of a pod as a CNI plugin on the node would.
func (b *bed) attach(p *corev1.Pod, node string) {
	b.t.Helper()
	key := cluster.Key{Namespace: p.Namespace, Name: p.Name}
	addrs := random.PortAddrs(p)
	uid, there := b.attached[key]
	want := p.Spec.NodeName == node && len(addrs) > 0
	if there && (!want || uid != string(p.UID)) {
		b.detach(key)
		there = false
	}
	if want && !there {
		if err := b.Attach(b.t.Context(), key, string(p.UID), addrs); err != nil {
			b.t.Fatal(err)
		}
		b.attached[key] = string(p.UID)
	}
}

func (b *bed) detach(key cluster.Key) {
	b.t.Helper()
	if _, there := b.attached[key]; !there {
		return
	}
	if err := b.Detach(b.t.Context(), key); err != nil {
		b.t.Fatal(err)
	}
	delete(b.attached, key)
}

// edit brings an edit to the node.
func (b *bed) edit(e random.Edit, node string) {
	b.t.Helper()
	var events []cluster.Event
	// What goes, goes first: its address may be another's now.
	for _, c := range e.Changes {
		if c.Pod != nil && (c.Deleted || len(random.PortAddrs(c.Pod)) == 0) {
			b.detach(cluster.Key{Namespace: c.Pod.Namespace, Name: c.Pod.Name})
		}
	}
	for _, c := range e.Changes {
		switch {
		case c.Pod != nil:
			if !c.Deleted {
				b.attach(c.Pod, node)
			}
			events = append(events, b.podEvent(c.Pod, c.Deleted))
		case c.Namespace != nil:
			events = append(events, cluster.Event{Namespace: cluster.TrimNamespace(c.Namespace), Deleted: c.Deleted})
		case c.Policy != nil:
			events = append(events, cluster.Event{Policy: cluster.TrimPolicy(c.Policy), Deleted: c.Deleted})
		}
	}
	b.Emit(events)
	b.sync()
}

// judge traces a connection on the bridge.
func (b *bed) judge(c oracle.Conn) (bool, string, error) {
	req := api.TraceRequest{From: c.Src.Addr.String(), To: c.Dst.Addr.String(), Protocol: strings.ToLower(string(c.Protocol)), Port: c.Port}
	x, err := b.Trace(b.t.Context(), req)
	if err != nil {
		return false, "", err
	}
	var detail strings.Builder
	fmt.Fprintf(&detail, "%s: %s\n", x.Verdict, x.Reason)
	for _, s := range x.Steps {
		fmt.Fprintf(&detail, "  %-15s %-24s %s  [%s actions=%s]\n", s.Table, s.Object, s.Meaning, s.Match, strings.Join(s.Actions, ","))
	}
	return x.Verdict == api.Allowed, detail.String(), nil
}

// Whatever the cluster and however it changes, the bridge says of each
// connection what the oracle says.
func TestTheBridgeAgreesWithTheOracle(t *testing.T) {
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (go test ./test/enforced -sluice.seed=%d)", seed, seed)
	checked, edits, clusters := 0, 0, 0
	for ; checked < *probeFlag && !t.Failed(); clusters++ {
		s := seed + uint64(clusters)
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			w := random.FromSeed(s, random.Small)
			c := random.Seed(s + 1<<32)
			b := start(t, w)
			checked += random.Compare(t, w, random.Probes(w, c, 120), b.judge)
			for i := 0; i < 6 && !t.Failed(); i++ {
				var e random.Edit
				w, e = w.Edit(c, random.Small)
				b.edit(e, w.Node)
				edits++
				checked += random.Compare(t, w, random.Probes(w, c, 40), b.judge)
				if t.Failed() {
					t.Logf("after edit: %s", e)
				}
			}
		})
	}
	t.Logf("%d connections of %d clusters and %d edits traced as the oracle judges them", checked, clusters, edits)
}
