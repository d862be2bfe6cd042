package observe_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
	"github.com/sluice-cni/sluice/test/need"
)

// shop is a node with a client, two pods behind Service shop/web, one of which
// may be reached by nobody, and Services of other kinds.
func shop(t *testing.T) *simulate.Bed {
	t.Helper()
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	b, err := simulate.Start(t.Context(), simulate.Options{
		Node: "node", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("fd00:10:244::/64")},
		Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	events := []cluster.Event{{Namespace: &cluster.Namespace{Name: "shop"}}}
	for name, host := range map[string]string{"client": "5", "open": "6", "shut": "7"} {
		addrs := []netip.Addr{netip.MustParseAddr("10.244.0." + host), netip.MustParseAddr("fd00:10:244::" + host)}
		key := cluster.Key{Namespace: "shop", Name: name}
		if err := b.Attach(t.Context(), key, name, addrs); err != nil {
			t.Fatal(err)
		}
		events = append(events, cluster.Event{Pod: &cluster.Pod{Key: key, UID: name, Node: "node", IPs: addrs, Labels: map[string]string{"app": name}}})
	}
	service := func(name, addr string, edit func(*cluster.Service), endpoints ...string) {
		s := &cluster.Service{
			Key: cluster.Key{Namespace: "shop", Name: name}, ClusterIPs: []netip.Addr{netip.MustParseAddr(addr)},
			Ports: []cluster.ServicePort{{Name: "http", Protocol: "TCP", Port: 80}},
		}
		if edit != nil {
			edit(s)
		}
		slice := &cluster.EndpointSlice{
			Key: cluster.Key{Namespace: "shop", Name: name + "-1"}, Service: name,
			Ports: []cluster.EndpointPort{{Name: "http", Protocol: "TCP", Port: 8080}, {Name: "other", Protocol: "UDP", Port: 53}},
		}
		for _, a := range endpoints {
			slice.Endpoints = append(slice.Endpoints, cluster.Endpoint{Addr: netip.MustParseAddr(a), Ready: true, Serving: true, Node: "node"})
		}
		events = append(events, cluster.Event{Service: s}, cluster.Event{Slice: slice})
	}
	service("web", "10.96.0.1", func(s *cluster.Service) { s.Ports[0].NodePort = 30080 }, "10.244.0.6", "10.244.0.7")
	service("shut", "10.96.0.2", nil, "10.244.0.7")
	service("sticky", "10.96.0.3", func(s *cluster.Service) { s.Affinity = 3 * time.Hour }, "10.244.0.6", "10.244.0.7")
	service("empty", "10.96.0.4", nil)
	service("two", "10.96.0.5", func(s *cluster.Service) {
		s.Ports = append(s.Ports, cluster.ServicePort{Name: "other", Protocol: "UDP", Port: 53})
	}, "10.244.0.6")
	service("six", "fd00:10:96::6", nil, "fd00:10:244::6")
	events = append(events, cluster.Event{Policy: cluster.TrimPolicy(&networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "guard"},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "shut"}}, PolicyTypes: []networkingv1.PolicyType{"Ingress"}},
	})}, cluster.Event{Synced: true})
	b.Emit(events)
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func traced(t *testing.T, b *simulate.Bed, from, to, protocol string, port uint16) *api.Explanation {
	t.Helper()
	x, err := b.Trace(t.Context(), api.TraceRequest{From: from, To: to, Protocol: protocol, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestTraceToAServiceSaysWhoServesIt(t *testing.T) {
	b := shop(t)
	web := api.Balanced{Service: "shop/web", PortName: "http", Port: 80, Kind: "ClusterIP", Frontend: "10.96.0.1:80", Choices: 2}
	sticky := web
	sticky.Service, sticky.Frontend, sticky.Affinity = "shop/sticky", "10.96.0.3:80", "3h0m0s"
	nodePort := web
	nodePort.Kind, nodePort.Frontend = "NodePort", "192.0.2.1:30080"
	for _, tc := range []struct {
		name, from, to, protocol string
		port                     uint16
		want                     api.Balanced
	}{
		{"by name and name of the port", "shop/client", "svc:shop/web:http", "", 0, web},
		{"by name and number", "shop/client", "svc:shop/web:80", "", 0, web},
		{"by name alone", "shop/client", "svc:shop/web", "", 0, web},
		{"by its address", "shop/client", "10.96.0.1", "tcp", 80, web},
		{"with affinity", "shop/client", "svc:shop/sticky", "", 0, sticky},
		{"from outside", "203.0.113.7", "10.96.0.1", "tcp", 80, web},
		{"at a node's port", "shop/client", "192.0.2.1", "tcp", 30080, nodePort},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := traced(t, b, tc.from, tc.to, tc.protocol, tc.port)
			if x.Service == nil {
				t.Fatalf("no Service: %+v", x)
			}
			got := *x.Service
			// Which of them it is, a hash decides; what follows is for that one.
			verdict := map[string]string{"10.244.0.6:8080": api.Allowed, "10.244.0.7:8080": api.Denied}[got.Endpoint]
			pod := map[string]string{"10.244.0.6:8080": "shop/open", "10.244.0.7:8080": "shop/shut"}[got.Endpoint]
			if verdict == "" || x.Verdict != verdict || got.Pod != pod {
				t.Errorf("endpoint %s of pod %s is %s: %s", got.Endpoint, got.Pod, x.Verdict, x.Reason)
			}
			got.Endpoint, got.Pod = "", ""
			if got != tc.want {
				t.Errorf("\n got %+v\nwant %+v", got, tc.want)
			}
			if x.Ingress == nil || x.Ingress.Isolated != (pod == "shop/shut") {
				t.Errorf("ingress %+v", x.Ingress)
			}
			if x.To.Service != "shop/web:http" && x.To.Service != "shop/sticky:http" {
				t.Errorf("to %+v", x.To)
			}
		})
	}
}

func TestTraceToAServiceJudgesTheEndpoint(t *testing.T) {
	x := traced(t, shop(t), "shop/client", "svc:shop/shut:http", "", 0)
	if x.Verdict != api.Denied || !strings.Contains(x.Reason, "ingress of pod shop/shut is isolated by NetworkPolicy shop/guard") {
		t.Errorf("%s: %s", x.Verdict, x.Reason)
	}
	if x.Service == nil || x.Service.Pod != "shop/shut" || x.Service.Choices != 1 || x.Ingress == nil || !x.Ingress.Isolated {
		t.Errorf("service %+v, ingress %+v", x.Service, x.Ingress)
	}
}

func TestTraceToAServiceOfTheOtherFamily(t *testing.T) {
	x := traced(t, shop(t), "shop/client", "svc:shop/six", "", 0)
	if x.Verdict != api.Allowed || x.Service == nil || x.Service.Endpoint != "[fd00:10:244::6]:8080" || x.Service.Frontend != "[fd00:10:96::6]:80" {
		t.Errorf("%s: %s, %+v", x.Verdict, x.Reason, x.Service)
	}
}

func TestTraceToAServiceThatNobodyServesIsDenied(t *testing.T) {
	x := traced(t, shop(t), "shop/client", "svc:shop/empty:http", "", 0)
	if x.Verdict != api.Denied || !strings.Contains(x.Reason, "has no endpoint: refused") {
		t.Errorf("%s: %s", x.Verdict, x.Reason)
	}
	if x.Service == nil || x.Service.Endpoint != "" || x.Service.Choices != 0 {
		t.Errorf("service %+v", x.Service)
	}
}

func TestTraceToAServiceThatIsNotThereNamesIt(t *testing.T) {
	b := shop(t)
	for to, want := range map[string]string{
		"svc:shop/none":     "no Service shop/none",
		"svc:shop/web:8080": "no Service shop/web:8080",
		"svc:web":           "is not svc:NAMESPACE/NAME:PORT",
		"svc:shop/two":      "Service shop/two has several ports",
	} {
		_, err := b.Trace(t.Context(), api.TraceRequest{From: "shop/client", To: to})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("to %s: %v, want %q", to, err, want)
		}
	}
	if x := traced(t, b, "shop/client", "svc:shop/two", "tcp", 0); x.Service == nil || x.Service.Port != 80 {
		t.Errorf("by its protocol: %+v", x.Service)
	}
}
