package service

import (
	"testing"
	"time"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/pkg/cluster"
)

func TestAServiceComesChangesAndGoes(t *testing.T) {
	c := New("n1")
	c.Update(set(slice("web-a", ep("10.1.0.5 node=n1"))))
	want(t, c)
	c.Update(set(web(nil)))
	want(t, c, "shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; cluster [10.1.0.5:8080]")
	c.Update(set(slice("web-b", ep("10.1.1.5 node=n2"))), set(slice("web-a", ep("10.1.0.5 node=n1"))))
	want(t, c, "shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; cluster [10.1.0.5:8080 10.1.1.5:8080]")
	c.Update(set(web(nil)), set(slice("web-a", ep("10.1.0.5 node=n1"))))
	want(t, c)
	c.Update(deleted(slice("web-a")))
	want(t, c, "shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; cluster [10.1.1.5:8080]")
	c.Update(deleted(slice("web-b")))
	want(t, c, "shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster")
	c.Update(deleted(web(nil)))
	want(t, c, "shop/web:http/tcp/ipv4 gone")
	if len(c.services) != 0 || len(c.owners) != 0 || len(c.claims) != 0 || len(c.byKey) != 0 {
		t.Errorf("left: %v, %v, %v, %v", c.services, c.owners, c.claims, c.byKey)
	}
}

func TestASliceGoesToAnotherService(t *testing.T) {
	c := New("n1")
	other := web(func(s *cluster.Service) { s.Name, s.ClusterIPs = "api", addrs("10.96.0.2") })
	c.Update(set(web(nil)), set(other), set(slice("a", ep("10.1.0.5"))))
	c.Flush()
	moved := slice("a", ep("10.1.0.5"))
	moved.Service = "api"
	c.Update(set(moved))
	want(t, c, "shop/api:http/tcp/ipv4 10.96.0.2:80 cluster/cluster; cluster [10.1.0.5:8080]",
		"shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster")
}

func TestFrontends(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*cluster.Service)
		want []string
	}{
		{"a port without a name is named by its number", func(s *cluster.Service) { s.Ports[0] = cluster.ServicePort{Protocol: "SCTP", Port: 36412} },
			[]string{"shop/web:36412/sctp/ipv4 10.96.0.1:36412 cluster/cluster"}},
		{"each port and family is a balancer", func(s *cluster.Service) {
			s.ClusterIPs = addrs("10.96.0.1", "fd00::1")
			s.Ports = []cluster.ServicePort{{Name: "dns", Protocol: "UDP", Port: 53}, {Name: "dns-tcp", Protocol: "TCP", Port: 53}}
		}, []string{
			"shop/web:dns-tcp/tcp/ipv4 10.96.0.1:53 cluster/cluster", "shop/web:dns-tcp/tcp/ipv6 [fd00::1]:53 cluster/cluster",
			"shop/web:dns/udp/ipv4 10.96.0.1:53 cluster/cluster", "shop/web:dns/udp/ipv6 [fd00::1]:53 cluster/cluster",
		}},
		{"without cluster addresses there is nothing", func(s *cluster.Service) { s.ClusterIPs, s.ExternalIPs = nil, addrs("203.0.113.7") }, nil},
		{"addresses of a family without a cluster address lead nowhere", func(s *cluster.Service) {
			s.ExternalIPs, s.LoadBalancerIPs = addrs("2001:db8::7"), addrs("2001:db8::8")
		}, []string{"shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster"}},
		{"internal policy is for cluster addresses only", func(s *cluster.Service) {
			s.InternalLocal, s.ExternalIPs = true, addrs("203.0.113.7")
		}, []string{"shop/web:http/tcp/ipv4 10.96.0.1:80 local/local; 203.0.113.7:80 cluster/cluster"}},
		{"external policy is for those outside, at all that is external", func(s *cluster.Service) {
			s.ExternalLocal, s.Ports[0].NodePort = true, 30080
			s.ExternalIPs, s.LoadBalancerIPs = addrs("203.0.113.7"), addrs("203.0.113.8")
		}, []string{"shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; 30080 cluster/local; 203.0.113.8:80 cluster/local; 203.0.113.7:80 cluster/local"}},
		{"source ranges are for load balancers' addresses, by family", func(s *cluster.Service) {
			s.ClusterIPs = addrs("10.96.0.1", "fd00::1")
			s.Ports[0].NodePort = 30080
			s.ExternalIPs, s.LoadBalancerIPs = addrs("203.0.113.7"), addrs("203.0.113.8", "2001:db8::8")
			s.SourceRanges = prefixes("198.51.100.0/24", "192.0.2.0/24")
		}, []string{
			"shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; 30080 cluster/cluster; 203.0.113.8:80 cluster/cluster from [198.51.100.0/24 192.0.2.0/24]; 203.0.113.7:80 cluster/cluster",
			"shop/web:http/tcp/ipv6 [fd00::1]:80 cluster/cluster; 30080 cluster/cluster; [2001:db8::8]:80 cluster/cluster",
		}},
		{"the range of all is none", func(s *cluster.Service) {
			s.LoadBalancerIPs, s.SourceRanges = addrs("203.0.113.8"), prefixes("198.51.100.0/24", "0.0.0.0/0")
		}, []string{"shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; 203.0.113.8:80 cluster/cluster"}},
		{"an address in two ways is there once, guarded", func(s *cluster.Service) {
			s.ExternalIPs, s.LoadBalancerIPs, s.SourceRanges = addrs("203.0.113.8"), addrs("203.0.113.8"), prefixes("198.51.100.0/24")
		}, []string{"shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; 203.0.113.8:80 cluster/cluster from [198.51.100.0/24]"}},
		{"affinity lasts no longer than a flow can", func(s *cluster.Service) { s.Affinity = 24 * time.Hour },
			[]string{"shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; affinity 18h12m15s"}},
		{"of two ports with one name the first counts", func(s *cluster.Service) {
			s.Ports = append(s.Ports, cluster.ServicePort{Name: "http", Protocol: "TCP", Port: 81})
		}, []string{"shop/web:http/tcp/ipv4 10.96.0.1:80 cluster/cluster", "Service shop/web: spec.ports: more than one is shop/web:http/tcp/ipv4"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New("n1")
			c.Update(set(web(test.edit)))
			want(t, c, test.want...)
		})
	}
}

func TestWhoHasAFrontendThatTwoWant(t *testing.T) {
	external := func(name, clusterIP string, created int64) *cluster.Service {
		return web(func(s *cluster.Service) {
			s.Name, s.ClusterIPs, s.Created, s.ExternalIPs = name, addrs(clusterIP), created, addrs("203.0.113.7")
		})
	}
	c := New("n1")
	c.Update(set(external("a", "10.96.0.1", 2)), set(external("b", "10.96.0.2", 2)))
	want(t, c, "shop/a:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; 203.0.113.7:80 cluster/cluster",
		"shop/b:http/tcp/ipv4 10.96.0.2:80 cluster/cluster",
		"Service shop/b: spec.externalIPs: 203.0.113.7:80/TCP is of Service shop/a, by its spec.externalIPs")
	// The older has it, whatever its name.
	c.Update(set(external("c", "10.96.0.3", 1)))
	want(t, c, "shop/a:http/tcp/ipv4 10.96.0.1:80 cluster/cluster",
		"shop/c:http/tcp/ipv4 10.96.0.3:80 cluster/cluster; 203.0.113.7:80 cluster/cluster",
		"Service shop/a: spec.externalIPs: 203.0.113.7:80/TCP is of Service shop/c, by its spec.externalIPs",
		"Service shop/b: spec.externalIPs: 203.0.113.7:80/TCP is of Service shop/c, by its spec.externalIPs")
	// A load balancer's address is given out by the cluster.
	lb := web(func(s *cluster.Service) {
		s.Name, s.ClusterIPs, s.Created, s.LoadBalancerIPs = "lb", addrs("10.96.0.4"), 9, addrs("203.0.113.7")
	})
	c.Update(set(lb))
	if lines := flush(c); len(lines) != 5 || lines[1] != "shop/lb:http/tcp/ipv4 10.96.0.4:80 cluster/cluster; 203.0.113.7:80 cluster/cluster" {
		t.Errorf("got %q", lines)
	}
	// Who comes next has it as soon as it is free.
	c.Update(deleted(lb), deleted(external("c", "10.96.0.3", 1)))
	want(t, c, "shop/a:http/tcp/ipv4 10.96.0.1:80 cluster/cluster; 203.0.113.7:80 cluster/cluster", "shop/c:http/tcp/ipv4 gone", "shop/lb:http/tcp/ipv4 gone",
		"Service shop/b: spec.externalIPs: 203.0.113.7:80/TCP is of Service shop/a, by its spec.externalIPs")
	// Nobody takes a cluster address.
	thief := web(func(s *cluster.Service) {
		s.Name, s.ClusterIPs, s.ExternalIPs = "0", addrs("10.96.0.9"), addrs("10.96.0.1")
	})
	c.Update(set(thief))
	want(t, c, "shop/0:http/tcp/ipv4 10.96.0.9:80 cluster/cluster",
		"Service shop/0: spec.externalIPs: 10.96.0.1:80/TCP is of Service shop/a, by its spec.clusterIPs")
}

func TestFrontendsAreFoundAgain(t *testing.T) {
	c := New("n1")
	c.Update(set(&cluster.Node{Name: "n1", Addrs: addrs("192.0.2.1")}), set(web(func(s *cluster.Service) { s.Ports[0].NodePort = 30080 })))
	c.Flush()
	found := Info{Service: cluster.Key{Namespace: "shop", Name: "web"}, PortName: "http", Port: 80, Key: "shop/web:http/tcp/ipv4"}
	if got, ok := c.ByFrontend(addrs("::ffff:10.96.0.1")[0], flows.TCP, 80); !ok || got != found {
		t.Errorf("by the cluster address: %+v, %t", got, ok)
	}
	if got, ok := c.ByKey(found.Key); !ok || got != found {
		t.Errorf("by key: %+v, %t", got, ok)
	}
	found.Kind = NodePort
	if got, ok := c.ByFrontend(addrs("192.0.2.1")[0], flows.TCP, 30080); !ok || got != found {
		t.Errorf("at the node: %+v, %t", got, ok)
	}
	for _, at := range []struct {
		addr     string
		protocol uint8
		port     uint16
	}{{"192.0.2.2", flows.TCP, 30080}, {"10.96.0.1", flows.UDP, 80}, {"10.96.0.1", flows.TCP, 30080}, {"10.96.0.1", 1, 80}} {
		if got, ok := c.ByFrontend(addrs(at.addr)[0], at.protocol, at.port); ok {
			t.Errorf("%v is found: %+v", at, got)
		}
	}
	all := c.Services()
	if len(all) != 1 || all[0].Service.Name != "web" || len(all[0].Balancers) != 1 || text(all[0].Balancers[0].Balancer) != "10.96.0.1:80 cluster/cluster; 30080 cluster/cluster" {
		t.Errorf("Services() = %+v", all)
	}
}
