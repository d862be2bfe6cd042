package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/test/bed"
)

// What the database tells of a port comes late, and must not undo what the CNI
// commands have done since.
func TestPortsThatComeAndGoQuicklyAreIsolatedAndLeaveNothing(t *testing.T) {
	n := ownNode(t, 28, 124, bed.Options{}) // addresses are soon used again
	n.logIfFailed(t)
	n.namespace(t, "churn", nil)
	const pods, rounds = 5, 4
	before := len(n.flows(t))
	var all []*bed.Pod
	for i := range pods {
		all = append(all, n.create(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "churn", Name: fmt.Sprintf("pod-%d", i)}}))
	}
	ctx := within(t)
	failed := make(chan error, pods)
	var busy sync.WaitGroup
	for _, p := range all {
		busy.Go(func() {
			for range rounds {
				for _, step := range []func(context.Context) error{p.Add, p.Check, p.Del} {
					if err := step(ctx); err != nil {
						failed <- fmt.Errorf("%s: %w", p.Name, err)
						return
					}
				}
			}
			if err := p.Add(ctx); err != nil {
				failed <- err
			}
		})
	}
	busy.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	for _, p := range all {
		if err := p.Check(ctx); err != nil {
			t.Error(err)
		}
	}
	for _, p := range all {
		if err := p.Del(ctx); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "nothing is left", func(context.Context) error {
		if after := n.flows(t); len(after) != before {
			var own []string
			for _, f := range after {
				if strings.Contains(f, "in_port=") {
					own = append(own, f)
				}
			}
			return fmt.Errorf("%d flows, were %d: %s", len(after), before, strings.Join(own, "\n"))
		}
		return nil
	})
}

// An address goes to another pod while connection tracking may still know those
// of the one before.
func TestAPodDoesNotInheritTheConnectionsOfItsAddress(t *testing.T) {
	n := ownNode(t, 29, 125, bed.Options{Outside: []netip.Addr{other4, other6}})
	n.logIfFailed(t)
	n.namespace(t, "heir", nil)
	n.apply(t, `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: heir, name: mute}
spec: {podSelector: {matchLabels: {app: heir}}, policyTypes: [Egress, Ingress]}
`)
	first := n.create(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "heir", Name: "first"}})
	if err := first.Add(within(t)); err != nil {
		t.Fatal(err)
	}
	n.run(t, first)
	outside := []*bed.Host{n.Outside(other4), n.Outside(other6)}
	got := startSink(t, outside[0], 4001)
	send := func(p *bed.Pod) {
		t.Helper()
		wire := openLink(t, &p.Host, "eth0")
		for _, h := range outside {
			a := h.Addrs[0]
			from := end{macOf(t, &p.Host, "eth0"), p.Addr(choose(a.Is4(), 4, 6))}
			ls := datagram(from, end{macOf(t, n.Node, "sluice0"), a}, "left")
			setPorts(ls, 4000, 4001)
			if err := wire.send(ls...); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the first pod is allowed", func(context.Context) error {
		send(first)
		if got.count.Load() < 2 {
			return fmt.Errorf("%d datagrams arrived", got.count.Load())
		}
		return nil
	})
	if err := first.Del(within(t)); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		heir := n.create(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "heir", Name: fmt.Sprintf("heir-%d", i), Labels: map[string]string{"app": "heir"}}})
		if err := heir.Add(within(t)); err != nil {
			t.Fatal(err)
		}
		if heir.Addr(4) == first.Addr(4) {
			before := got.count.Load()
			send(heir)
			n.expect(t, probe{&heir.Host, outside[0], 4, corev1.ProtocolUDP, 80}, false) // comes after
			if after := got.count.Load(); after != before {
				t.Errorf("%d datagrams of a pod that may send nothing arrived", after-before)
			}
			return
		}
		if err := heir.Del(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the address was not used again")
}
