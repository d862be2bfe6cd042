package own

import (
	"context"
	"errors"
	"fmt"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-cni/sluice/test/bed"
)

// agentsReplaced replaces all agents, one after the other, while packets pass
// between two nodes, connections are made, and others are denied.
func agentsReplaced(ctx context.Context, e *env) (string, error) {
	remove, err := e.apply(ctx, "only-b-reaches-a", networkingv1.NetworkPolicySpec{
		PodSelector: app("a"), Ingress: []networkingv1.NetworkPolicyIngressRule{{From: peersOfB}},
	})
	if err != nil {
		return "", err
	}
	note, err := e.whileReplaced(ctx)
	return note, errors.Join(err, remove())
}

func (e *env) whileReplaced(ctx context.Context) (string, error) {
	server := e.pod("a", e.last()).Host
	friend, stranger := e.pod("b", 0).Host, e.pod("a", 0).Host
	if err := until(ctx, func() error { return denied(ctx, stranger, server) }); err != nil {
		return "", err
	}
	if err := reach(ctx, friend, server); err != nil {
		return "", err
	}
	load, err := startLoad(friend, server, stranger, e.families())
	if err != nil {
		return "", err
	}
	begin := time.Now()
	err = e.replaceAgents(ctx)
	took := time.Since(begin)
	lost, loadErr := load.stop()
	return fmt.Sprintf("%s while agents were replaced in %.1f s", load, took.Seconds()), errors.Join(err, loadErr, lost)
}

// agents is the DaemonSet of the agents.
const agents = "sluice-agent"

// replaceAgents is `kubectl rollout restart`, and waits until all are new and
// ready.
func (e *env) replaceAgents(ctx context.Context) error {
	sets := e.client.AppsV1().DaemonSets(metav1.NamespaceSystem)
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	set, err := sets.Patch(ctx, agents, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return err
	}
	generation := set.Generation
	return until(ctx, func() error {
		set, err := sets.Get(ctx, agents, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s := set.Status
		if s.ObservedGeneration < generation || s.UpdatedNumberScheduled < s.DesiredNumberScheduled || s.NumberAvailable < s.DesiredNumberScheduled {
			return fmt.Errorf("of %d agents %d are new and %d ready", s.DesiredNumberScheduled, s.UpdatedNumberScheduled, s.NumberAvailable)
		}
		return nil
	})
}

// tick is the time between packets, and between connections.
const tick = 10 * time.Millisecond

// load is traffic that goes on until it is stopped.
type load struct {
	cancel    context.CancelFunc
	datagrams []*datagrams
	conns     *conns
	denied    *conns
}

// startLoad sends datagrams and makes connections from a friend to a server, and
// has a stranger try to.
func startLoad(friend, server, stranger *bed.Host, families []int) (*load, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for _, family := range families {
		d, err := startDatagrams(ctx, friend, server, family)
		if err != nil {
			_, err := l.stop()
			return nil, err
		}
		l.datagrams = append(l.datagrams, d)
	}
	l.conns = startConns(ctx, friend, server, families[0], 2*tick)
	l.denied = startConns(ctx, stranger, server, families[0], 10*tick)
	return l, nil
}

// slow is how long a connection takes at least that had a packet lost: the kernel
// sends it again after a second (RFC 6298).
const slow = 900 * time.Millisecond

// stop ends the traffic. What is lost, or passed that must not, is the first
// error.
func (l *load) stop() (lost, err error) {
	l.cancel()
	var faults, errs []error
	for _, d := range l.datagrams {
		errs = append(errs, d.wait())
		if n := d.lost(); n > 0 {
			faults = append(faults, fmt.Errorf("%d of %d datagrams were lost, %d in a row", n, d.sent, d.row()))
		}
	}
	if l.conns != nil {
		l.conns.done.Wait()
		if n := l.conns.made - len(l.conns.took); n > 0 {
			faults = append(faults, fmt.Errorf("%d of %d connections failed, the last with: %w", n, l.conns.made, l.conns.failed))
		}
		if longest := l.conns.longest(); longest > slow {
			faults = append(faults, fmt.Errorf("a connection took %v", longest))
		}
	}
	if l.denied != nil {
		l.denied.done.Wait()
		if n := len(l.denied.took); n > 0 {
			faults = append(faults, fmt.Errorf("%d of %d connections passed that must not", n, l.denied.made))
		}
	}
	return errors.Join(faults...), errors.Join(errs...)
}

// String is what the load was and how it fared.
func (l *load) String() string {
	sent, lost := 0, 0
	for _, d := range l.datagrams {
		sent, lost = sent+d.sent, lost+d.lost()
	}
	return fmt.Sprintf("lost %d of %d datagrams and %d of %d new connections (the slowest took %.1f ms), let %d of %d others pass",
		lost, sent, l.conns.made-len(l.conns.took), l.conns.made, l.conns.longest().Seconds()*1000, len(l.denied.took), l.denied.made)
}
