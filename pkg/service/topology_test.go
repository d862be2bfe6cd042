package service

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/pkg/cluster"
)

// Who serves, as the Kubernetes documentation has it: Service, "Traffic policies"
// and "Traffic distribution"; Topology Aware Routing, "Safeguards"; EndpointSlices,
// "Conditions". The node is n1 of zone z1.
func TestWhoServes(t *testing.T) {
	for _, test := range []struct {
		name           string
		endpoints      []string
		cluster, local string // last digits of the addresses
		topology       Topology
	}{
		{"nobody", nil, "", "", AnyEndpoint},
		{"the ready", []string{"10.1.0.1 node=n1", "10.1.0.2 node=n2", "10.1.0.3 node=n1 unready"}, "1 2", "1", AnyEndpoint},
		{"on no node known", []string{"10.1.0.1"}, "1", "", AnyEndpoint},
		{"no unready one, though there is no other", []string{"10.1.0.1 node=n1 unready"}, "", "", AnyEndpoint},
		{"not those that terminate while others are ready", []string{"10.1.0.1 node=n1", "10.1.0.2 node=n1 terminating", "10.1.0.3 node=n2 terminating"}, "1", "1", AnyEndpoint},
		{"those that terminate and still serve, if nobody else does", []string{"10.1.0.1 node=n1 terminating", "10.1.0.2 node=n2 terminating", "10.1.0.3 node=n1 draining"}, "1 2", "1", AnyEndpoint},
		{"on this node one that terminates, elsewhere the ready", []string{"10.1.0.1 node=n1 terminating", "10.1.0.2 node=n2"}, "2", "1", AnyEndpoint},
		{"those published though they are not ready", []string{"10.1.0.1 node=n1"}, "1", "1", AnyEndpoint},

		{"those of the zone", []string{"10.1.0.1 node=n1 zone=z1", "10.1.0.2 node=n2 zone=z1", "10.1.0.3 node=n3 zone=z2"}, "1 2", "1", SameZone},
		{"those with more than one zone, too", []string{"10.1.0.1 node=n1 zone=z2 zone=z1", "10.1.0.3 node=n3 zone=z2"}, "1", "1", SameZone},
		{"all, if one has no hint", []string{"10.1.0.1 node=n1 zone=z1", "10.1.0.2 node=n2", "10.1.0.3 node=n3 zone=z2"}, "1 2 3", "1", AnyEndpoint},
		{"all, if no hint is for the zone", []string{"10.1.0.2 node=n2 zone=z3", "10.1.0.3 node=n3 zone=z2"}, "2 3", "", AnyEndpoint},
		{"those of the zone, if who has no hint is not ready", []string{"10.1.0.1 node=n1 zone=z1", "10.1.0.2 node=n2 unready", "10.1.0.3 node=n3 zone=z2"}, "1", "1", SameZone},
		{"all, if who has the zone's hint is not ready", []string{"10.1.0.1 node=n1 zone=z1 unready", "10.1.0.3 node=n3 zone=z2"}, "3", "", AnyEndpoint},
		{"of those that terminate any, whatever the hints", []string{"10.1.0.1 node=n1 zone=z1 terminating", "10.1.0.3 node=n3 zone=z2 terminating"}, "1 3", "1", AnyEndpoint},
		{"those of the zone, none that terminates there", []string{"10.1.0.1 node=n2 zone=z1 terminating", "10.1.0.2 node=n2 zone=z1", "10.1.0.3 node=n3 zone=z2"}, "2", "", SameZone},
		{"on this node also one for another zone", []string{"10.1.0.1 node=n1 zone=z2", "10.1.0.2 node=n2 zone=z1"}, "2", "1", SameZone},

		{"those of the node", []string{"10.1.0.1 node=n1 zone=z1 for-node=n1", "10.1.0.2 node=n2 zone=z1 for-node=n2"}, "1", "1", SameNode},
		{"those of the zone, if none is for the node", []string{"10.1.0.2 node=n2 zone=z1 for-node=n2", "10.1.0.3 node=n3 zone=z2 for-node=n3"}, "2", "", SameZone},
		{"all, if none is for the node nor the zone", []string{"10.1.0.3 node=n3 zone=z2 for-node=n3", "10.1.0.4 node=n4 zone=z3 for-node=n4"}, "3 4", "", AnyEndpoint},
		{"those of the zone, if one has no hint for a node", []string{"10.1.0.1 node=n1 zone=z1 for-node=n1", "10.1.0.2 node=n2 zone=z1", "10.1.0.3 node=n3 zone=z2 for-node=n3"}, "1 2", "1", SameZone},
		{"those of the node without zones", []string{"10.1.0.1 node=n1 for-node=n1", "10.1.0.2 node=n2 for-node=n2"}, "1", "1", SameNode},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New("n1")
			c.Update(set(&cluster.Node{Name: "n1", Zone: "z1"}))
			c.Update(set(web(func(s *cluster.Service) { s.ExternalLocal, s.Ports[0].NodePort = true, 30080 })))
			for i, words := range test.endpoints {
				c.Update(set(slice(fmt.Sprint("web-", i), ep(words))))
			}
			want(t, c, "shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; 30080 cluster/local"+served("cluster", test.cluster)+served("local", test.local))
			if info, _ := c.ByKey("shop/web:http/tcp/ipv4"); info.Topology != test.topology {
				t.Errorf("picked by %q, want %q", info.Topology, test.topology)
			}
		})
	}
}

// served is how a balancer's text says that 10.1.0.x serve at port 8080.
func served(scope, digits string) string {
	if digits == "" {
		return ""
	}
	var all []string
	for _, d := range strings.Fields(digits) {
		all = append(all, "10.1.0."+d+":8080")
	}
	return fmt.Sprint("; ", scope, " ", all)
}

func TestTheNodesZoneIsFollowed(t *testing.T) {
	c := New("n1")
	c.Update(set(web(nil)), set(slice("a", ep("10.1.0.1 zone=z1"), ep("10.1.0.2 zone=z2"))))
	want(t, c, "shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster"+served("cluster", "1 2"))
	c.Update(set(&cluster.Node{Name: "n1", Zone: "z2"}))
	want(t, c, "shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster"+served("cluster", "2"))
	c.Update(set(&cluster.Node{Name: "n2", Zone: "z1"}))
	want(t, c)
}

func TestEndpointsOfSeveralSlices(t *testing.T) {
	both := func(name string, eps ...cluster.Endpoint) *cluster.EndpointSlice {
		s := slice(name, eps...)
		s.Ports = append(s.Ports, cluster.EndpointPort{Name: "metrics", Protocol: "TCP", Port: 9090}, cluster.EndpointPort{Name: "http", Protocol: "UDP", Port: 8081})
		return s
	}
	c := New("n1")
	c.Update(set(web(func(s *cluster.Service) {
		s.ClusterIPs, s.InternalLocal = addrs("10.96.0.1", "fd00::1"), true
		s.Ports = append(s.Ports, cluster.ServicePort{Name: "metrics", Protocol: "TCP", Port: 9090})
	})))
	// An endpoint that goes from one slice to another is in both for a while. That it
	// is here counts most, then that it serves.
	c.Update(set(both("a", ep("10.1.0.1"), ep("10.1.0.2 node=n1"))),
		set(slice("b", ep("10.1.0.1 node=n1 terminating"), ep("10.1.0.2 node=n1 unready"))),
		set(both("c", ep("fd00::1:1 node=n1"))))
	want(t, c,
		"shop/web:http/tcp/ipv4 10.96.0.1:80 local/local"+served("cluster", "2")+served("local", "2"),
		"shop/web:http/tcp/ipv6 [fd00::1]:80 local/local; cluster [[fd00::1:1]:8080]; local [[fd00::1:1]:8080]",
		"shop/web:metrics/tcp/ipv4 10.96.0.1:9090 local/local; cluster [10.1.0.1:9090 10.1.0.2:9090]; local [10.1.0.2:9090]",
		"shop/web:metrics/tcp/ipv6 [fd00::1]:9090 local/local; cluster [[fd00::1:1]:9090]; local [[fd00::1:1]:9090]")
}

func TestHealthChecksCountTheReadyOfThisNode(t *testing.T) {
	c := New("n1")
	spec := web(func(s *cluster.Service) { s.ExternalLocal, s.HealthCheckPort = true, 32000 })
	twice := slice("b", ep("fd00::1 node=n1"), ep("10.1.0.1 node=n1"))
	c.Update(set(spec), set(twice), set(slice("a", ep("10.1.0.1 node=n1"), ep("10.1.0.2 node=n1"), ep("10.1.0.3 node=n1 terminating"), ep("10.1.0.4 node=n2"))))
	check := func(wanted ...HealthCheck) {
		t.Helper()
		c.Flush()
		if got := fmt.Sprint(c.HealthChecks()); got != fmt.Sprint(wanted) {
			t.Errorf("got %v, want %v", got, wanted)
		}
	}
	check(HealthCheck{spec.Key, 32000, 2})
	c.Update(set(slice("a", ep("10.1.0.2 node=n1 unready"))))
	check(HealthCheck{spec.Key, 32000, 1})
	c.Update(deleted(spec))
	check()
}
