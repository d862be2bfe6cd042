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
	remove, err := e.onlyBReachesA(ctx)
	if err != nil {
		return "", err
	}
	l, took, err := e.whileReplaced(ctx, agents)
	if err = errors.Join(err, remove()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s while agents were replaced in %.1f s", l, took.Seconds()), errors.Join(l.lost(), l.opened())
}

// switchesReplaced replaces the Open vSwitch of all nodes. Packets are lost; none
// may pass that is denied. On the userspace datapath flows and connections go with
// the process: a new one drops all until the agent has written the flows again.
func switchesReplaced(ctx context.Context, e *env) (string, error) {
	remove, err := e.onlyBReachesA(ctx)
	if err != nil {
		return "", err
	}
	l, took, err := e.whileReplaced(ctx, switches)
	if err = errors.Join(err, remove()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s while Open vSwitch was replaced in %.1f s", l, took.Seconds()), l.opened()
}

func (e *env) onlyBReachesA(ctx context.Context) (remove func() error, err error) {
	return e.apply(ctx, "only-b-reaches-a", networkingv1.NetworkPolicySpec{
		PodSelector: app("a"), Ingress: []networkingv1.NetworkPolicyIngressRule{{From: peersOfB}},
	})
}

// whileReplaced has a load on a pod while the pods of a DaemonSet are replaced. It
// returns how the load has fared and how long that took.
func (e *env) whileReplaced(ctx context.Context, name string) (*load, time.Duration, error) {
	server := e.pod("a", e.last()).Host
	friend, stranger := e.pod("b", 0).Host, e.pod("a", 0).Host
	if err := until(ctx, func() error { return denied(ctx, stranger, server) }); err != nil {
		return nil, 0, err
	}
	if err := reach(ctx, friend, server); err != nil {
		return nil, 0, err
	}
	l, err := startLoad(friend, server, stranger, e.families())
	if err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	err = e.replace(ctx, name)
	took := time.Since(begin)
	return l, took, errors.Join(err, l.stop())
}

// The DaemonSets.
const (
	agents   = "sluice-agent"
	switches = "sluice-ovs"
)

// replace is `kubectl rollout restart`, and waits until all pods of a DaemonSet
// are new and ready.
func (e *env) replace(ctx context.Context, name string) error {
	sets := e.client.AppsV1().DaemonSets(metav1.NamespaceSystem)
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	set, err := sets.Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return err
	}
	generation := set.Generation
	return until(ctx, func() error {
		set, err := sets.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s := set.Status
		if s.ObservedGeneration < generation || s.UpdatedNumberScheduled < s.DesiredNumberScheduled || s.NumberAvailable < s.DesiredNumberScheduled {
			return fmt.Errorf("of %d pods of %s %d are new and %d ready", s.DesiredNumberScheduled, name, s.UpdatedNumberScheduled, s.NumberAvailable)
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
			return nil, errors.Join(err, l.stop())
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

// stop ends the traffic.
func (l *load) stop() error {
	l.cancel()
	var errs []error
	for _, d := range l.datagrams {
		errs = append(errs, d.wait())
	}
	for _, c := range []*conns{l.conns, l.denied} {
		if c != nil {
			c.done.Wait()
		}
	}
	return errors.Join(errs...)
}

// lost says what of a load that is to pass has been lost.
func (l *load) lost() error {
	var errs []error
	for _, d := range l.datagrams {
		if n := d.lost(); n > 0 {
			errs = append(errs, fmt.Errorf("%d of %d datagrams were lost, %d in a row", n, d.sent, d.row()))
		}
	}
	if n := l.conns.made - len(l.conns.took); n > 0 {
		errs = append(errs, fmt.Errorf("%d of %d connections failed, the last with: %w", n, l.conns.made, l.conns.failed))
	}
	if longest := l.conns.longest(); longest > slow {
		errs = append(errs, fmt.Errorf("a connection took %v", longest))
	}
	return errors.Join(errs...)
}

// opened says what has passed that must not.
func (l *load) opened() error {
	if n := len(l.denied.took); n > 0 {
		return fmt.Errorf("%d of %d connections passed that must not", n, l.denied.made)
	}
	return nil
}

// String is how a load that has been stopped has fared.
func (l *load) String() string {
	sent, lost, row := 0, 0, 0
	for _, d := range l.datagrams {
		sent, lost, row = sent+d.sent, lost+d.lost(), max(row, d.row())
	}
	return fmt.Sprintf("lost %d of %d datagrams (%.2f s at most) and %d of %d new connections (the slowest took %.1f ms), let %d of %d others pass",
		lost, sent, (time.Duration(row) * tick).Seconds(), l.conns.made-len(l.conns.took), l.conns.made, l.conns.longest().Seconds()*1000, len(l.denied.took), l.denied.made)
}
