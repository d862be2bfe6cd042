package cluster

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func ips(texts ...string) (out []netip.Addr) {
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

func TestTrimService(t *testing.T) {
	http := []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}}
	web := func(edit func(*Service)) Service {
		s := Service{ClusterIPs: ips("10.96.0.1"), Ports: []ServicePort{{"http", "TCP", 80, 0}}}
		edit(&s)
		return s
	}
	for _, test := range []struct {
		name   string
		in     corev1.ServiceSpec
		status []corev1.LoadBalancerIngress
		want   Service
		err    string
	}{
		{name: "a headless Service has nothing", in: corev1.ServiceSpec{ClusterIP: "None", ClusterIPs: []string{"None"}, Ports: http}},
		{name: "nor has a name of something outside", in: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ClusterIP: "10.96.0.1", Ports: http}},
		{name: "nor has one without an address", in: corev1.ServiceSpec{ExternalIPs: []string{"203.0.113.7"}, Ports: http}},
		{name: "clusterIP alone counts", in: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: http}, want: web(func(*Service) {})},
		{
			name: "all that there is", in: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1", "fd00::1"},
				ExternalIPs: []string{"203.0.113.7", "203.0.113.7"}, LoadBalancerSourceRanges: []string{" 198.51.100.1/24 ", "::ffff:198.51.100.0/120"},
				Ports:                 []corev1.ServicePort{{Port: 53, Protocol: corev1.ProtocolUDP, NodePort: 30053}, {Name: "sig", Port: 36412, Protocol: corev1.ProtocolSCTP}, {Name: "d", Port: 1}},
				InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyLocal), ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
				HealthCheckNodePort: 32000, SessionAffinity: corev1.ServiceAffinityClientIP,
				SessionAffinityConfig: &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To(int32(60))}},
			},
			status: []corev1.LoadBalancerIngress{{IP: "203.0.113.8"}, {IP: "203.0.113.9", IPMode: ptr.To(corev1.LoadBalancerIPModeProxy)},
				{IP: "2001:db8::8", IPMode: ptr.To(corev1.LoadBalancerIPModeVIP)}, {Hostname: "lb.example.net"}},
			want: Service{
				ClusterIPs: ips("10.96.0.1", "fd00::1"), ExternalIPs: ips("203.0.113.7"), LoadBalancerIPs: ips("203.0.113.8", "2001:db8::8"),
				SourceRanges:  []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
				Ports:         []ServicePort{{"", "UDP", 53, 30053}, {"sig", "SCTP", 36412, 0}, {"d", "TCP", 1, 0}},
				InternalLocal: true, ExternalLocal: true, HealthCheckPort: 32000, Affinity: time.Minute,
			},
		},
		{
			name: "no policy for outside where nobody comes from there", in: corev1.ServiceSpec{
				ClusterIP: "10.96.0.1", Ports: http, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, HealthCheckNodePort: 32000},
			want: web(func(*Service) {}),
		},
		{
			name: "no health check of node ports", in: corev1.ServiceSpec{
				Type: corev1.ServiceTypeNodePort, ClusterIP: "10.96.0.1", Ports: http, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, HealthCheckNodePort: 32000},
			want: web(func(s *Service) { s.ExternalLocal = true }),
		},
		{
			name: "affinity has a default", in: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: http, SessionAffinity: corev1.ServiceAffinityClientIP},
			want: web(func(s *Service) { s.Affinity = 3 * time.Hour }),
		},
		{
			name: "ranges that can't be used let nobody in", in: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.1", Ports: http, LoadBalancerSourceRanges: []string{"010.0.0.0/8", "2001:db8::/64"},
			},
			status: []corev1.LoadBalancerIngress{{IP: "203.0.113.8"}, {IP: "2001:db8::8"}},
			want: web(func(s *Service) {
				s.LoadBalancerIPs, s.SourceRanges = ips("2001:db8::8"), []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}
			}),
			err: `Service ns/s: spec.loadBalancerSourceRanges[0]: Invalid value: "010.0.0.0/8": not a CIDR`,
		},
		{
			name: "what is bad leaves the rest", in: corev1.ServiceSpec{
				ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1", "10.96.0.2", "x"}, ExternalIPs: []string{"127.0.0.1", "203.0.113.7", "0.0.0.0", "224.0.0.1", "fe80::1"},
				LoadBalancerSourceRanges: []string{"10.0.0.0"},
				Ports:                    []corev1.ServicePort{{Name: "http", Port: 80}, {Port: 0}, {Port: 1, Protocol: "ICMP"}, {Port: 2, NodePort: 70000, Name: "n"}},
				SessionAffinity:          corev1.ServiceAffinityClientIP, SessionAffinityConfig: &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To(int32(0))}},
			},
			status: []corev1.LoadBalancerIngress{{IP: "::1"}},
			want: web(func(s *Service) {
				s.ExternalIPs, s.Ports = ips("203.0.113.7"), append(s.Ports, ServicePort{"n", "TCP", 2, 0})
			}),
			err: `Service ns/s: [spec.clusterIPs[1]: Invalid value: "10.96.0.2": is the second address of its family, spec.clusterIPs[2]: Invalid value: "x": not an IP address, ` +
				`spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be a loopback address, spec.externalIPs[2]: Invalid value: "0.0.0.0": may not be unspecified, ` +
				`spec.externalIPs[3]: Invalid value: "224.0.0.1": may not be a multicast address, spec.externalIPs[4]: Invalid value: "fe80::1": may not be a link-local address, ` +
				`status.loadBalancer.ingress[0].ip: Invalid value: "::1": may not be a loopback address, spec.loadBalancerSourceRanges[0]: Invalid value: "10.0.0.0": not a CIDR, ` +
				`spec.ports[1].port: Invalid value: 0: must be between 1 and 65535, spec.ports[2].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP", ` +
				`spec.ports[3].nodePort: Invalid value: 70000: must be between 1 and 65535, spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be between 1 and 86400]`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}, Spec: test.in}
			in.Status.LoadBalancer.Ingress = test.status
			got, err := TrimService(in)
			wantError(t, err, test.err)
			test.want.Key = Key{"ns", "s"}
			if diff := cmp.Diff(&test.want, got, addrs); diff != "" {
				t.Errorf("Service (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTrimSlice(t *testing.T) {
	in := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: "s", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Port: ptr.To(int32(80))}, {Name: ptr.To("all")}, {Name: ptr.To("bad"), Port: ptr.To(int32(0))},
			{Name: ptr.To("dns"), Port: ptr.To(int32(53)), Protocol: ptr.To(corev1.ProtocolUDP)}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.1.0.1", "10.1.0.2"}, NodeName: ptr.To("n1"), Hints: &discoveryv1.EndpointHints{
				ForZones: []discoveryv1.ForZone{{Name: "z1"}, {Name: "z2"}}, ForNodes: []discoveryv1.ForNode{{Name: "n1"}}}},
			{Addresses: []string{"10.1.0.3"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false), Terminating: ptr.To(true)}},
			{Addresses: []string{"10.1.0.4"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(false), Serving: ptr.To(false), Terminating: ptr.To(true)}},
			{Addresses: []string{"127.0.0.1"}}, {Addresses: []string{"169.254.169.254"}}, {Addresses: []string{"0.0.0.0"}}, {}, {Addresses: []string{"fd00::1"}},
		},
	}
	got, err := TrimSlice(in)
	wantError(t, err, `EndpointSlice ns/s: [ports[2].port: Invalid value: 0: must be between 1 and 65535, `+
		`endpoints[3].addresses[0]: Invalid value: "127.0.0.1": may not be a loopback address, `+
		`endpoints[4].addresses[0]: Invalid value: "169.254.169.254": may not be a link-local address, `+
		`endpoints[5].addresses[0]: Invalid value: "0.0.0.0": may not be unspecified, endpoints[6].addresses: Required value, `+
		`endpoints[7].addresses[0]: Invalid value: "fd00::1": is not of the slice's address type IPv4]`)
	want := &EndpointSlice{
		Key: Key{"ns", "s"}, Service: "web", Ports: []EndpointPort{{"", "TCP", 80}, {"dns", "UDP", 53}},
		Endpoints: []Endpoint{
			{Addr: netip.MustParseAddr("10.1.0.1"), Node: "n1", Ready: true, Serving: true, ForZones: []string{"z1", "z2"}, ForNodes: []string{"n1"}},
			{Addr: netip.MustParseAddr("10.1.0.3"), Serving: true, Terminating: true},
			{Addr: netip.MustParseAddr("10.1.0.4"), Terminating: true},
		},
	}
	if diff := cmp.Diff(want, got, addrs); diff != "" {
		t.Errorf("slice (-want +got):\n%s", diff)
	}
	in.AddressType = discoveryv1.AddressTypeFQDN
	got, err = TrimSlice(in)
	wantError(t, err, "")
	if diff := cmp.Diff(&EndpointSlice{Key: want.Key}, got); diff != "" {
		t.Errorf("slice of host names (-want +got):\n%s", diff)
	}
}

func TestTrimServiceCIDR(t *testing.T) {
	got, err := TrimServiceCIDR(&networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "c"},
		Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/12", "fd00::/108", "x"}}})
	wantError(t, err, `ServiceCIDR c: spec.cidrs[2]: Invalid value: "x": not a CIDR`)
	want := &ServiceCIDR{Name: "c", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00::/108")}}
	if diff := cmp.Diff(want, got, addrs); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}

func TestFolderTellsOfServices(t *testing.T) {
	const header = "metadata: {namespace: shop, name: %s, labels: {%s}}\n"
	service := func(name, labels string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Service\n"+header+"spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n---\n", name, labels)
	}
	slice := func(name, labels, kind, address string) string {
		return fmt.Sprintf("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"+header+"addressType: %s\nports: [{port: 8080}]\nendpoints: [{addresses: [%s]}]\n---\n", name, labels, kind, address)
	}
	dir, r := follow(t, FolderOptions{}, "a.yaml", strings.Join([]string{
		slice("web-a", "kubernetes.io/service-name: web", "IPv4", "10.1.0.5"), service("web", ""),
		service("others", labelOtherProxy+": x"), slice("others-a", labelOtherProxy+": x", "IPv4", "10.1.0.5"),
		slice("names", "kubernetes.io/service-name: web", "FQDN", "db.example.net"), slice("bad", "", "IPv4", "127.0.0.1"),
		"apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: main}\nspec: {cidrs: [10.96.0.0/12]}\n",
	}, ""))
	wantLines(t, r.take(), "problem "+dir+"/a.yaml: document 6: EndpointSlice shop/bad: EndpointSlice shop/bad: endpoints[0].addresses[0]: Invalid value",
		"Namespace shop", "ServiceCIDR main", "Service shop/web", "EndpointSlice shop/web-a", "synced")
	write(t, dir, "a.yaml", service("web", ""))
	r.untilLine("deleted ServiceCIDR")
	wantLines(t, r.take(), "deleted EndpointSlice shop/web-a", "deleted ServiceCIDR main")
}
