// Package explained holds what Sluice says of its verdicts against the oracle:
// random clusters are enforced on a real ovs-vswitchd by the parts of the agent,
// and each explanation must name the policies that the oracle names.
package explained

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/oracle"
	"github.com/sluice-cni/sluice/pkg/simulate"
	"github.com/sluice-cni/sluice/test/need"
	"github.com/sluice-cni/sluice/test/random"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the seed of the first random cluster; zero draws one")
	probeFlag = flag.Int("probes", 2000, "how many connections to explain at least")
)

// bed is a simulated node that follows a random cluster.
type bed struct {
	*simulate.Bed
	t        testing.TB
	attached map[cluster.Key]string // pod -> uid
}

func start(t testing.TB, w *random.Cluster, watch flows.Watch) *bed {
	t.Helper()
	var o simulate.Options
	for _, n := range w.Nodes {
		node, err := cluster.TrimNode(n)
		if err != nil {
			t.Fatal(err)
		}
		if n.Name == w.Node {
			o = simulate.Options{Node: n.Name, PodCIDRs: node.PodCIDRs, Addrs: node.Addrs, Watch: watch}
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

// check holds the explanation of a connection against the oracle's verdict and
// returns what is wrong with it.
func (b *bed) check(w *random.Cluster, c oracle.Conn) error {
	want := w.Judge(c)
	x, err := b.Trace(b.t.Context(), api.TraceRequest{
		From: c.Src.Addr.String(), To: c.Dst.Addr.String(), Protocol: strings.ToLower(string(c.Protocol)), Port: c.Port,
	})
	if err != nil {
		return err
	}
	if got := x.Verdict == api.Allowed; got != want.AllowedOn(w.Node) {
		return fmt.Errorf("%s (%s), the oracle says allowed: %v", x.Verdict, x.Reason, want.AllowedOn(w.Node))
	}
	for _, s := range []struct {
		got  *api.Side
		want oracle.Side
	}{{x.Egress, want.Egress}, {x.Ingress, want.Ingress}} {
		if s.got == nil || s.want.Unknown || s.want.Node != w.Node {
			continue // decided elsewhere, or not reached
		}
		if err := sameSide(s.got, s.want); err != nil {
			return fmt.Errorf("%s: %w (%s)", s.got.Direction, err, x.Reason)
		}
	}
	return nil
}

func sameSide(got *api.Side, want oracle.Side) error {
	var by []string
	for _, k := range want.IsolatedBy {
		by = append(by, k.String())
	}
	slices.Sort(by)
	if !slices.Equal(got.IsolatedBy, by) {
		return fmt.Errorf("isolated by %v, the oracle says %v", got.IsolatedBy, by)
	}
	if want.Exempt != "" {
		return nil
	}
	if got.AllowedBy == nil {
		if want.Isolated && len(want.AllowedBy) > 0 {
			return fmt.Errorf("no rule named, the oracle names %v", want.AllowedBy)
		}
		return nil
	}
	for _, r := range want.AllowedBy {
		if r.Policy.String() == got.AllowedBy.Policy && r.Index == got.AllowedBy.Index {
			return nil
		}
	}
	return fmt.Errorf("allowed by rule %d of %s, the oracle names %v", got.AllowedBy.Index, got.AllowedBy.Policy, want.AllowedBy)
}

// Whatever the cluster and however it changes, an explanation has the oracle's
// verdict, and names the policies and a rule that the oracle names.
func TestExplanationsNameWhatTheOracleNames(t *testing.T) {
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e9
	}
	t.Logf("the first seed is %d; again: go test ./test/explained -seed=%d", seed, seed)
	checked := 0
	for ; checked < *probeFlag && !t.Failed(); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w, c := random.FromSeed(seed, random.Small), random.Seed(seed)
			b := start(t, w, flows.Watch{})
			for range 5 {
				for _, conn := range random.Probes(w, c, 40) {
					if err := b.check(w, conn); err != nil {
						t.Fatalf("%s: %v\n%s", conn, err, random.Manifests(w))
					}
					checked++
				}
				var e random.Edit
				w, e = w.Edit(c, random.Small)
				b.edit(e, w.Node)
			}
		})
	}
	t.Logf("%d explanations name what the oracle names", checked)
}
