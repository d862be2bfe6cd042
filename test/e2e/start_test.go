package e2e

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/test/bed"
)

// nextAddrs returns addresses that the next pods of the node may get: pods get
// them in ascending order while there are some that were never used.
func nextAddrs(after *bed.Pod, port uint16) (all []netip.AddrPort) {
	const pods = 16 // tests run in parallel
	for _, a := range after.Addrs {
		for range pods {
			a = a.Next()
			all = append(all, netip.AddrPortFrom(a, port))
		}
	}
	return all
}

func TestNothingReachesAPodThatStartsBeforeAPolicyAllowsIt(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "starting", nil)
	const port = 7777
	client := n.pod(t, "starting", "client", nil)
	n.apply(t, `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: starting, name: deny-all}
spec: {podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress, Egress]}
`)
	server := n.create(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "starting", Name: "server", Labels: map[string]string{"app": "server"},
	}})
	got := startSink(t, &server.Host, port)
	stop := flood(t, &client.Host, nextAddrs(client, port))
	n.attach(t, server)
	if _, ok := index(nextAddrs(client, port), server.Addr(4)); !ok {
		t.Fatalf("the pod has address %v, which nobody has sent to", server.Addr(4))
	}
	n.check(t, between(hosts(client), hosts(server))...)
	n.check(t, between(hosts(server), hosts(client))...)
	n.run(t, server)
	n.check(t, between(hosts(client), hosts(server))...)
	sent := stop()
	if count := got.count.Load(); count > 0 || sent == 0 {
		t.Errorf("%d of %d datagrams reached a pod that nobody may reach", count, sent)
	}

	n.deletePolicy(t, "starting", "deny-all")
	stop = flood(t, &client.Host, targetsOf(server, port))
	eventually(t, "datagrams come when the policy is gone", func(context.Context) error {
		if got.count.Load() == 0 {
			return errors.New("none has come")
		}
		return nil
	})
	stop()
}

func TestPodThatTheClusterDoesNotKnowIsShut(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "unknown", nil)
	neighbour := n.pod(t, "unknown", "neighbour", nil)
	early := n.netns(t, "unknown", "early", "")
	n.attach(t, early)
	both := append(hosts(neighbour, early), n.Node)
	n.check(t, between(both, both[:2])...)
}

func index(all []netip.AddrPort, a netip.Addr) (int, bool) {
	for i, ap := range all {
		if ap.Addr() == a {
			return i, true
		}
	}
	return 0, false
}
