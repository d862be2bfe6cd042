package oracle

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// The cluster of every case: two namespaces on two nodes. shop/done has
// succeeded and shop/new has no address yet; its port carries 10.0.1.7.
const (
	namespaces = `
- metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop, team: retail}}
- metadata: {name: bank, labels: {kubernetes.io/metadata.name: bank}}
`
	nodes = `
- metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 192.168.0.1}, {type: InternalIP, address: "fd00:168::1"}, {type: Hostname, address: n1}]}
- metadata: {name: n2}
  status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
`
	pods = `
- metadata: {namespace: shop, name: web, labels: {app: web, tier: front}}
  spec:
    nodeName: n1
    containers: [{ports: [{name: http, containerPort: 8080}]}]
  status: {phase: Running, podIPs: [{ip: 10.0.1.2}, {ip: "fd00:1::2"}]}
- metadata: {namespace: shop, name: api, labels: {app: api}}
  spec:
    nodeName: n1
    containers: [{ports: [{name: http, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]}]
    initContainers:
    - {restartPolicy: Always, ports: [{name: mesh, containerPort: 15000}]}
    - {ports: [{name: setup, containerPort: 7000}]}
  status: {phase: Running, podIPs: [{ip: 10.0.1.3}, {ip: "fd00:1::3"}]}
- metadata: {namespace: shop, name: db, labels: {app: db, tier: back}}
  spec: {nodeName: n2}
  status: {phase: Running, podIPs: [{ip: 10.0.2.2}]}
- metadata: {namespace: bank, name: api, labels: {app: api}}
  spec:
    nodeName: n2
    containers: [{ports: [{name: http, containerPort: 9090}]}]
  status: {phase: Running, podIPs: [{ip: 10.0.2.3}]}
- metadata: {namespace: bank, name: host, labels: {app: api}}
  spec: {nodeName: n2, hostNetwork: true}
  status: {phase: Running, podIPs: [{ip: 192.168.0.2}]}
- metadata: {namespace: shop, name: done, labels: {app: api}}
  spec: {nodeName: n1}
  status: {phase: Succeeded, podIPs: [{ip: 10.0.1.9}]}
- metadata: {namespace: shop, name: new, labels: {app: api}}
  spec: {nodeName: n1}
  status: {phase: Pending}
`
)

// fixture returns the cluster with policies, given as a YAML list of objects
// that need only "in" for the namespace, "name" and the fields of the spec.
func fixture(t *testing.T, policies string) *Cluster {
	t.Helper()
	c := &Cluster{}
	parse(t, namespaces, &c.Namespaces)
	parse(t, nodes, &c.Nodes)
	parse(t, pods, &c.Pods)
	var names []struct{ In, Name string }
	var specs []networkingv1.NetworkPolicySpec
	parse(t, policies, &names)
	parse(t, policies, &specs)
	for i, n := range names {
		p := &networkingv1.NetworkPolicy{Spec: specs[i]}
		p.Namespace, p.Name = n.In, n.Name
		c.Policies = append(c.Policies, p)
	}
	return c
}

func parse(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("parsing %s: %v", text, err)
	}
}

// expect checks lines such as "allow shop/web > 203.0.113.1 udp/53". An end that
// is a pod stands for its IPv4 address, "/6" behind it for the other one.
func expect(t *testing.T, c *Cluster, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		want, text, _ := strings.Cut(line, " ")
		v := c.Judge(parseConn(t, c, text))
		if got := map[bool]string{true: "allow", false: "deny"}[v.Allowed]; got != want {
			t.Errorf("%s: got %s\negress  %+v\ningress %+v", line, got, v.Egress, v.Ingress)
		}
	}
}

func parseConn(t *testing.T, c *Cluster, text string) Conn {
	t.Helper()
	f := strings.Fields(text)
	if len(f) < 4 || f[1] != ">" {
		t.Fatalf("not a connection: %q", text)
	}
	protocol, port, _ := strings.Cut(f[3], "/")
	conn := Conn{Src: parseEnd(t, c, f[0]), Dst: parseEnd(t, c, f[2]), Protocol: corev1.Protocol(strings.ToUpper(protocol))}
	conn.FromOwnNode = len(f) > 4 && f[4] == "own-node"
	if conn.Protocol != ICMP {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			t.Fatalf("not a port in %q: %v", text, err)
		}
		conn.Port = uint16(n)
	}
	return conn
}

func parseEnd(t *testing.T, c *Cluster, text string) Endpoint {
	t.Helper()
	if a, err := netip.ParseAddr(text); err == nil {
		return Endpoint{Addr: a}
	}
	namespace, rest, _ := strings.Cut(text, "/")
	name, six := strings.CutSuffix(rest, "/6")
	key := Key{namespace, name}
	if key == (Key{"shop", "new"}) || key == (Key{"shop", "unheard-of"}) {
		return Endpoint{Pod: key, Addr: netip.MustParseAddr("10.0.1.7")}
	}
	for _, ip := range c.pod(key).Status.PodIPs {
		if a := netip.MustParseAddr(ip.IP); a.Is6() == six {
			return Endpoint{Pod: key, Addr: a}
		}
	}
	t.Fatalf("no such endpoint: %q", text)
	return Endpoint{}
}
