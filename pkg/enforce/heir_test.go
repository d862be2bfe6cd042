package enforce_test

import (
	"context"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/ovs/conntrack"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/enforce"
)

// held tells of no connections before it is let go.
type held struct {
	connections
	open chan struct{}
}

func (h held) Dump(ctx context.Context, zone uint16) ([]conntrack.Entry, error) {
	select {
	case <-h.open:
		return h.connections.Dump(ctx, zone)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// What is established passes without a verdict. A pod that gets the address of
// another is not told to be isolated before the other's connections are gone.
func TestAnAddressIsUsedAgainWithoutTheConnectionsOfThePodBefore(t *testing.T) {
	b := newBed(t)
	h := held{connections{b: b}, make(chan struct{})}
	e, _ := b.run(h)
	b.tell(e)
	b.sync(e)
	const before = "10.0.0.4>10.0.0.2"
	tracked := func() bool { _, there := b.tracked()[before]; return there }
	b.syn("c", "a", 80)
	eventually(t, tracked)
	port := b.ports["a"]
	if err := e.DeletePort(b.context(), port.Name); err != nil {
		t.Fatal(err)
	}
	e.Emit([]cluster.Event{{Policy: &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "closed"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}}})
	set := make(chan error, 1)
	go func() { set <- e.SetPort(b.context(), port) }()
	eventually(t, func() (there bool) {
		if err := e.Look(b.context(), func(v enforce.View) { _, there = v.Pipeline().Port(port.Name) }); err != nil {
			t.Fatal(err)
		}
		return there
	})
	b.sync(e)
	if !tracked() {
		t.Fatal("the connection is gone already")
	}
	select {
	case <-set:
		t.Error("the port is set, and what was established with the pod before passes to it")
	default:
		close(h.open)
		if err := <-set; err != nil {
			t.Fatal(err)
		}
	}
	if tracked() {
		t.Error("the connection is still there")
	}
	// One that nobody had lately need not wait.
	if err := e.SetPort(b.context(), b.ports["b"]); err != nil {
		t.Error(err)
	}
}
