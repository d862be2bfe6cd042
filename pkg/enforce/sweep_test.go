package enforce_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/conntrack"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

// An agent may end after it has written a policy and before it has cut what that
// no longer allows. The next one finds the flows as they should be.
func TestAnEnforcerCutsWhatTheOneBeforeDidNotGetTo(t *testing.T) {
	b := newBed(t)
	e, stop := b.run(nil) // it sweeps nothing
	b.tell(e)
	b.sync(e)
	const cut, kept = "10.0.0.2>10.0.0.3", "10.0.0.4>10.0.0.2"
	b.syn("a", "b", 80)
	b.syn("c", "a", 80)
	eventually(t, func() bool { return len(b.tracked()) == 2 })
	e.Emit([]cluster.Event{only("c")})
	b.sync(e)
	stop()
	if _, there := b.tracked()[cut]; !there {
		t.Fatalf("%s is not tracked any more, and nobody has swept", cut)
	}

	e, _ = b.run(connections{b: b})
	for _, p := range pods {
		e.TellPort(b.ports[p])
	}
	e.SetNode(b.node)
	e.Emit(append(cluster3(), only("c"), cluster.Event{Synced: true}))
	b.sync(e)
	eventually(t, func() bool { _, there := b.tracked()[cut]; return !there })
	if _, there := b.tracked()[kept]; !there {
		t.Errorf("%s was cut, although it is allowed", kept)
	}
}

// slow is a switch that goes on for a while as flows were.
type slow struct {
	connections
	settled chan struct{} // closed when it does not any more
}

func (s slow) Settle(ctx context.Context) error {
	select {
	case <-s.settled:
	case <-ctx.Done():
	}
	return nil
}

func TestWhatTheSwitchCommitsBeforeItHasSettledIsCutToo(t *testing.T) {
	b := newBed(t)
	s := slow{connections{b: b}, make(chan struct{})}
	e, _ := b.run(s)
	b.tell(e)
	b.sync(e)
	b.syn("a", "b", 80)
	const cut = "10.0.0.2>10.0.0.3"
	tracked := func() bool { _, there := b.tracked()[cut]; return there }
	eventually(t, tracked)
	e.Emit([]cluster.Event{only("c")})
	b.sync(e)
	eventually(t, func() bool { return !tracked() }) // by the first sweep
	// As a flow of before would have it, which the switch still has in its cache.
	sandboxtest.Run(t, b.sandbox, "ovs-ofctl", "-O", "OpenFlow15", "packet-out", "br", "in_port="+strconv.Itoa(int(b.ports["a"].OFPort))+
		",packet="+hex.EncodeToString(b.frame("a", "b", 80))+",actions=ct(commit,zone="+strconv.Itoa(int(flows.ZoneIPv4))+")")
	eventually(t, tracked)
	close(s.settled)
	eventually(t, func() bool { return !tracked() })
}

// ordered lists what is dead first, and remembers in which order connections are
// removed.
type ordered struct {
	connections
	dead    string      // source of what is dead
	removed func(n int) // called before the nth one is

	mu    sync.Mutex
	order []conntrack.Tuple
}

func (o *ordered) Dump(ctx context.Context, zone uint16) ([]conntrack.Entry, error) {
	entries, err := o.connections.Dump(ctx, zone)
	rank := func(e conntrack.Entry) int {
		if e.Orig.Src.String() == o.dead {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(entries, func(a, b conntrack.Entry) int { return cmp.Compare(rank(a), rank(b)) })
	return entries, err
}

func (o *ordered) Flush(ctx context.Context, zone uint16, t conntrack.Tuple) error {
	o.mu.Lock()
	o.order = append(o.order, t)
	n := len(o.order)
	o.mu.Unlock()
	o.removed(n)
	return o.connections.Flush(ctx, zone, t)
}

// place is how many were removed before one from a source; -1 if it was not.
func (o *ordered) place(src string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.IndexFunc(o.order, func(t conntrack.Tuple) bool { return t.Src.String() == src })
}

// A pod that is gone may have left thousands of connections. None of what is live
// and no longer allowed waits for them, nor does what is denied while they go.
func TestWhatIsDeniedIsCutBeforeWhatIsDead(t *testing.T) {
	b := newBed(t)
	e, stop := b.run(nil) // it sweeps nothing
	b.tell(e)
	b.sync(e)
	const dead = 400
	b.syn("a", "b", 80)
	b.syn("b", "a", 80)
	for i := range uint16(dead) {
		b.syn("c", "a", 1000+i)
	}
	left := func() int { return len(b.entries()) }
	eventually(t, func() bool { return left() == dead+2 })
	stop()

	const begun = 10
	o := &ordered{connections: connections{b: b}, dead: "10.0.0.4"}
	shut := cluster.Event{Policy: &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shut"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}}
	o.removed = func(n int) {
		if n == begun {
			e.Emit([]cluster.Event{shut})
			b.sync(e)
		}
	}
	e, _ = b.run(o)
	for _, p := range pods[:2] { // c is gone
		e.TellPort(b.ports[p])
	}
	e.SetNode(b.node)
	e.Emit(append(cluster3(), only("c"), cluster.Event{Synced: true}))
	b.sync(e)
	eventually(t, func() bool { return left() == 0 })
	if n := o.place("10.0.0.2"); n != 0 {
		t.Errorf("what is no longer allowed was removed after %d dead ones", n)
	}
	const most = 100 // at once, of what is dead
	if n := o.place("10.0.0.3"); n < begun || n > begun+most {
		t.Errorf("what was denied after %d were removed was removed after %d", begun, n)
	}
}

// stuck lists connections to one port first, none of which it can remove.
type stuck struct {
	connections
	port uint16
}

func (s stuck) Dump(ctx context.Context, zone uint16) ([]conntrack.Entry, error) {
	entries, err := s.connections.Dump(ctx, zone)
	i := 0
	for at, c := range entries {
		if c.Orig.DstPort == s.port {
			entries[i], entries[at] = entries[at], entries[i]
			i++
		}
	}
	return entries, err
}

func (s stuck) Flush(ctx context.Context, zone uint16, t conntrack.Tuple) error {
	if t.DstPort == s.port {
		return errors.New("operation not supported")
	}
	return s.connections.Flush(ctx, zone, t)
}

// Whoever has one connection that can't be removed would else keep all.
func TestAConnectionThatCanNotBeRemovedKeepsNoOtherOpen(t *testing.T) {
	b := newBed(t)
	const port = 60000
	e, stop := b.run(nil) // it sweeps nothing
	b.tell(e)
	b.sync(e)
	for i := range uint16(10) {
		b.syn("a", "b", port+i) // will be denied
		b.syn("c", "a", port+i) // c will be gone
	}
	ports := func() (left []uint16) {
		for _, c := range b.entries() {
			left = append(left, c.Orig.DstPort)
		}
		return left
	}
	eventually(t, func() bool { return len(ports()) == 20 })
	stop()
	e, _ = b.run(stuck{connections{b: b}, port})
	for _, p := range pods[:2] {
		e.TellPort(b.ports[p])
	}
	e.SetNode(b.node)
	e.Emit(append(cluster3(), only("c"), cluster.Event{Synced: true}))
	b.sync(e)
	eventually(t, func() bool { return slices.Equal(ports(), []uint16{port, port}) })
}

// A pod may have as many connections as it likes. When they are all denied at once
// the cuts of others do not wait until they are gone.
func TestCutsDoNotWaitForAPodOfManyConnections(t *testing.T) {
	b := newBed(t)
	e, stop := b.run(nil) // it sweeps nothing
	b.tell(e)
	b.sync(e)
	const many = 1500
	b.syn("b", "a", 80)
	for i := range uint16(many) {
		b.syn("c", "a", 1000+i)
	}
	left := func() int { return len(b.entries()) }
	eventually(t, func() bool { return left() == many+1 })
	stop()

	isolate := func(name, app string, direction networkingv1.PolicyType) cluster.Event {
		return cluster.Event{Policy: &networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
			Spec: networkingv1.NetworkPolicySpec{
				PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, PolicyTypes: []networkingv1.PolicyType{direction},
			},
		}}
	}
	const begun = 10
	o := &ordered{connections: connections{b: b}, dead: "10.0.0.4"} // listed first
	o.removed = func(n int) {
		if n == begun {
			e.Emit([]cluster.Event{isolate("shut", "a", networkingv1.PolicyTypeIngress)})
			b.sync(e)
		}
	}
	e, _ = b.run(o)
	for _, p := range pods {
		e.TellPort(b.ports[p])
	}
	e.SetNode(b.node)
	e.Emit(append(cluster3(), isolate("mute", "c", networkingv1.PolicyTypeEgress), cluster.Event{Synced: true}))
	b.sync(e)
	eventually(t, func() bool { return left() == 0 })
	const most = 1000 // at once
	if n := o.place("10.0.0.3"); n < begun || n > begun+most {
		t.Errorf("what was denied after %d were removed was removed after %d of %d", begun, n, many)
	}
}
