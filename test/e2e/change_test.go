package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/ovs/conntrack"
	"github.com/sluice-cni/sluice/test/bed"
)

// zones are the connection tracking zones of IPv4 and IPv6 on the bridge.
var zones = map[int]uint16{4: 65520, 6: 65521}

// tracked returns nil if the connection of a socket is in the datapath's
// connection tracking as wanted.
func (n *node) tracked(ctx context.Context, c net.Conn, want bool) error {
	local, remote := addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
	zone := zones[6]
	if local.Addr().Is4() {
		zone = zones[4]
	}
	entries, err := conntrack.Dump(ctx, n.OVS.Vswitchd(), n.OVS.Datapath(), zone)
	if err != nil {
		return err
	}
	got := false
	for _, e := range entries {
		o := e.Orig
		got = got || o.Src == local.Addr() && o.Dst == remote.Addr() && o.SrcPort == local.Port() && o.DstPort == remote.Port()
	}
	if got != want {
		return fmt.Errorf("connection %s -> %s is tracked: %v, want %v", local, remote, got, want)
	}
	return nil
}

// dial opens a connection and uses it once.
func dial(t testing.TB, from *bed.Host, network string, p probe) net.Conn {
	t.Helper()
	c, err := from.Dial(within(t), network, p.target())
	if err != nil {
		t.Fatalf("%v: %v", p, err)
	}
	t.Cleanup(func() { c.Close() })
	if err := bed.Exchange(c, soon()); err != nil {
		t.Fatalf("%v: %v", p, err)
	}
	return c
}

const serverAllows = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: %[1]s, name: guard}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
  - from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: %[2]s}]}}]
    ports: [{port: 80}, {protocol: UDP, port: 80}]
`

func TestPolicyChangeCutsWhatIsNoLongerAllowedAndNothingElse(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "hot", nil)
	server := n.pod(t, "hot", "server", map[string]string{"app": "server"})
	kept := n.pod(t, "hot", "kept", map[string]string{"app": "kept"})
	cut := n.pod(t, "hot", "cut", map[string]string{"app": "cut"})
	n.apply(t, fmt.Sprintf(serverAllows, "hot", "[kept, cut]"))
	n.check(t, between(hosts(kept, cut), hosts(server))...)

	var live []net.Conn // those to be cut
	var load []*traffic // on those to be kept
	for _, family := range []int{4, 6} {
		live = append(live, dial(t, &cut.Host, "tcp", probe{&cut.Host, &server.Host, family, corev1.ProtocolTCP, 80}))
		load = append(load, startTraffic(t, &kept.Host, &server.Host, family))
	}
	for _, c := range live {
		if err := n.tracked(within(t), c, true); err != nil {
			t.Error(err)
		}
	}
	n.apply(t, fmt.Sprintf(serverAllows, "hot", "[kept]"))
	for _, c := range live {
		eventually(t, "a connection that is no longer allowed is cut", func(context.Context) error {
			if err := bed.Exchange(c, silence()); err == nil {
				return errors.New("it still works")
			}
			return nil
		})
		eventually(t, "it is removed from connection tracking", func(ctx context.Context) error { return n.tracked(ctx, c, false) })
		if err := bed.Exchange(c, silence()); err == nil {
			t.Error("a connection that was cut works again")
		}
	}
	n.check(t, between(hosts(kept, cut), hosts(server))...)

	// And back.
	n.apply(t, fmt.Sprintf(serverAllows, "hot", "[kept, cut]"))
	n.check(t, between(hosts(kept, cut), hosts(server))...)
	for _, l := range load {
		l.stop()
	}
}

func TestRepliesPassWhateverIsolatesTheirSender(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "replies", nil)
	server := n.pod(t, "replies", "server", map[string]string{"app": "server"})
	client := n.pod(t, "replies", "client", map[string]string{"app": "client"})
	var load []*traffic
	for _, family := range []int{4, 6} {
		load = append(load, startTraffic(t, &client.Host, &server.Host, family))
	}
	// The server may begin nothing, and nobody may begin something with the client.
	n.apply(t, `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: replies, name: mute}
spec: {podSelector: {matchLabels: {app: server}}, policyTypes: [Egress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: replies, name: deaf}
spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Ingress]}
`)
	both := hosts(server, client)
	n.check(t, between(both, both)...)
	for _, l := range load {
		l.stop() // had they been cut, they would have lost something
	}
}
