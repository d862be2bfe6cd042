package e2e

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/test/bed"
)

// The hosts outside, of the networks set aside for documentation (RFC 5737, RFC
// 3849).
var (
	partner4 = netip.MustParseAddr("203.0.113.10")
	guest4   = netip.MustParseAddr("203.0.113.200")
	other4   = netip.MustParseAddr("198.51.100.10")
	partner6 = netip.MustParseAddr("2001:db8:113::10")
	guest6   = netip.MustParseAddr("2001:db8:113:bad::1")
	other6   = netip.MustParseAddr("2001:db8:51::10")
	// To the node's way to these belongs a smaller MTU.
	narrow4 = netip.MustParseAddr("192.0.2.10")
	narrow6 = netip.MustParseAddr("2001:db8:2::10")

	outside = []netip.Addr{partner4, guest4, other4, partner6, guest6, other6, narrow4, narrow6}
)

// outsiders returns hosts outside that serve.
func (n *node) outsiders(t testing.TB, addrs ...netip.Addr) (all []*bed.Host) {
	t.Helper()
	for _, a := range addrs {
		h := n.Outside(a)
		serve(t, h, servedPorts...)
		all = append(all, h)
	}
	return all
}

func TestThreeTiers(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "shop", map[string]string{"team": "shop"})
	n.namespace(t, "monitoring", map[string]string{"team": "ops"})
	pods := hosts(
		n.pod(t, "shop", "frontend", map[string]string{"tier": "frontend"}),
		n.pod(t, "shop", "backend", map[string]string{"tier": "backend", "role": "api"},
			corev1.ContainerPort{Name: "api", Protocol: corev1.ProtocolTCP, ContainerPort: 80}),
		n.pod(t, "shop", "db", map[string]string{"tier": "db"}),
		n.pod(t, "monitoring", "prometheus", map[string]string{"app": "prometheus"}),
		n.pod(t, "monitoring", "stranger", nil),
	)
	all := append(pods, n.Node)
	n.check(t, between(all, pods)...)
	n.apply(t, threeTiers)
	n.check(t, between(all, pods)...)
}

const threeTiers = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: default-deny}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: backend}
spec:
  podSelector: {matchLabels: {tier: backend}}
  ingress:
  - from: [{podSelector: {matchLabels: {tier: frontend}}}]
    ports: [{port: api}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db}
spec:
  podSelector: {matchLabels: {tier: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {role: api}}}]
    ports: [{port: 5400, endPort: 5500}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: monitoring}
spec:
  podSelector: {}
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {team: ops}}
      podSelector: {matchLabels: {app: prometheus}}
    ports: [{protocol: UDP, port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: monitoring, name: out}
spec:
  podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}
  policyTypes: [Egress]
  egress:
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
`

func TestBlocksOfAddressesInsideAndOutside(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "edge", nil)
	out := n.outsiders(t, partner4, guest4, other4, partner6, guest6, other6)
	pods := hosts(
		n.pod(t, "edge", "gateway", map[string]string{"app": "gateway"}),
		n.pod(t, "edge", "client", map[string]string{"app": "client"}),
		n.pod(t, "edge", "free", nil),
	)
	n.apply(t, blocks)
	n.check(t, between(out, pods)...)
	n.check(t, between(pods, append(out, pods...))...)
}

const blocks = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: edge, name: in}
spec:
  podSelector: {matchLabels: {app: gateway}}
  ingress:
  - from:
    - ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}
    - ipBlock: {cidr: "2001:db8:113::/48", except: ["2001:db8:113:bad::/64"]}
    ports: [{port: 80}]
  - from: [{ipBlock: {cidr: 203.0.113.200/32}}]
    ports: [{protocol: UDP, port: 5432}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: edge, name: out}
spec:
  podSelector: {matchLabels: {app: client}}
  policyTypes: [Egress]
  egress:
  - to:
    - ipBlock: {cidr: 0.0.0.0/0, except: [203.0.113.0/25, 10.0.0.0/8]}
    - ipBlock: {cidr: "::/0", except: ["2001:db8:113::/49", "fd00::/8"]}
  - to: [{ipBlock: {cidr: 203.0.113.8/29}}]
    ports: [{port: 5432}]
`

func TestLabelsOfPodsAndNamespaces(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "guarded", nil)
	n.namespace(t, "visitors", nil)
	pods := hosts(
		n.pod(t, "guarded", "server", map[string]string{"app": "server"}),
		n.pod(t, "guarded", "neighbour", nil),
		n.pod(t, "visitors", "visitor", nil),
	)
	n.apply(t, `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: guarded, name: guard}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
  - from:
    - podSelector: {matchLabels: {trusted: "yes"}}
    - namespaceSelector: {matchLabels: {trusted: "yes"}}
    ports: [{port: 80}, {protocol: UDP, port: 5432}]
`)
	n.check(t, between(pods, pods)...)
	for _, change := range [][]string{
		{"label", "-n", "guarded", "pod", "neighbour", "trusted=yes"},
		{"label", "namespace", "visitors", "trusted=yes"},
		{"label", "-n", "guarded", "pod", "neighbour", "trusted-"},
		{"label", "namespace", "visitors", "trusted=no", "--overwrite"},
		{"label", "-n", "guarded", "pod", "server", "app=free", "--overwrite"}, // isolated no more
	} {
		n.kubectl(t, change...)
		n.check(t, between(pods, pods[:1])...)
	}
}

func TestSCTP(t *testing.T) {
	n := sharedNode(t)
	t.Parallel()
	n.logIfFailed(t)
	n.namespace(t, "sctp", nil)
	server := n.pod(t, "sctp", "server", map[string]string{"app": "server"})
	client := n.pod(t, "sctp", "client", map[string]string{"app": "client"})
	stranger := n.pod(t, "sctp", "stranger", nil)
	n.apply(t, `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: sctp, name: signalling}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: client}}}]
    ports: [{protocol: SCTP, port: 2905}]
`)
	var probes []probe
	for _, from := range []*bed.Host{&client.Host, &stranger.Host} {
		for _, family := range []int{4, 6} {
			for _, port := range []uint16{2905, 2906} {
				probes = append(probes, probe{from, &server.Host, family, corev1.ProtocolSCTP, port})
			}
			// That the only rule is about SCTP allows nothing else.
			probes = append(probes, probe{from, &server.Host, family, corev1.ProtocolTCP, 80})
		}
	}
	n.check(t, probes...)
	// Once more, as the userspace datapath's tracker now knows the two addresses.
	n.check(t, probes...)
}
