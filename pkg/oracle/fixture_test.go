package oracle

import (
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// The cluster of every case: two namespaces on two nodes. shop/done has
// succeeded, shop/broken has failed and shop/new has no address yet.
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
    - {restartPolicy: Never, ports: [{name: setup, containerPort: 7000}]}
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
- metadata: {namespace: shop, name: broken, labels: {app: api}}
  spec: {nodeName: n1}
  status: {phase: Failed, podIPs: [{ip: 10.0.1.8}]}
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

// expect checks lines such as "allow shop/web > 203.0.113.1 udp/53".
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
	conn, err := c.ParseConn(text)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
