package cluster

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// services follows the server's Services, too; wrap may be nil.
func (s server) services(wrap func(http.RoundTripper) http.RoundTripper) (*APISource, *recorder) {
	s.t.Helper()
	config := s.Config()
	if wrap != nil {
		config.Wrap(wrap)
	}
	client, err := NewClient(config)
	s.must("make client", err)
	source := NewAPISource(client, APIOptions{Services: true})
	r := record(s.t, source)
	r.untilLine("synced")
	return source, r
}

func (s server) createService(name string, labels map[string]string, clusterIP string) *corev1.Service {
	s.t.Helper()
	in := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
	if clusterIP != "" {
		in.Spec.Type, in.Spec.ClusterIP = corev1.ServiceTypeClusterIP, clusterIP
	}
	out, err := s.Client().CoreV1().Services("shop").Create(s.t.Context(), in, metav1.CreateOptions{})
	s.must("create service "+name, err)
	return out
}

func (s server) createSlice(name string, labels map[string]string) {
	s.t.Helper()
	_, err := s.Client().DiscoveryV1().EndpointSlices("shop").Create(s.t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, AddressType: discoveryv1.AddressTypeIPv4,
		Ports:     []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To(int32(8080))}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.5"}, NodeName: ptr.To("n1")}},
	}, metav1.CreateOptions{})
	s.must("create slice "+name, err)
}

func testServices(t *testing.T, s server) {
	others := map[string]string{labelOtherProxy: "other"}
	web := s.createService("web", nil, "")
	s.createService("headless", nil, corev1.ClusterIPNone)
	s.createService("others", others, "")
	of := map[string]string{discoveryv1.LabelServiceName: "web"}
	s.createSlice("web-a", of)
	s.createSlice("others-a", others)
	s.createSlice("headless-a", map[string]string{discoveryv1.LabelServiceName: "headless", corev1.IsHeadlessService: ""})

	source, r := s.services(nil)
	if err := source.Healthy(); err != nil {
		t.Errorf("not healthy: %v", err)
	}
	lines := slices.DeleteFunc(r.take(), func(l string) bool {
		return l != "ServiceCIDR kubernetes" && !strings.HasPrefix(l, "Service shop/") && !strings.HasPrefix(l, "EndpointSlice shop/")
	})
	slices.Sort(lines)
	wantLines(t, lines, "EndpointSlice shop/web-a", "Service shop/headless", "Service shop/web", "ServiceCIDR kubernetes")
	r.mu.Lock()
	for _, want := range []object{
		&Service{Key: Key{"shop", "headless"}, Created: r.objects[identity{kindService, Key{"shop", "headless"}}].(*Service).Created},
		&Service{
			Key: Key{"shop", "web"}, Created: web.CreationTimestamp.Unix(), ClusterIPs: []netip.Addr{netip.MustParseAddr(web.Spec.ClusterIP)},
			Ports: []ServicePort{{"http", "TCP", 80, uint16(web.Spec.Ports[0].NodePort)}},
		},
		&EndpointSlice{
			Key: Key{"shop", "web-a"}, Service: "web", Ports: []EndpointPort{{"http", "TCP", 8080}},
			Endpoints: []Endpoint{{Addr: netip.MustParseAddr("10.1.0.5"), Node: "n1", Ready: true, Serving: true}},
		},
	} {
		if diff := cmp.Diff(want, r.objects[identify(want)], addrs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", identify(want), diff)
		}
	}
	ranges := r.objects[identity{kindRange, Key{Name: "kubernetes"}}].(*ServiceCIDR)
	if len(ranges.CIDRs) == 0 || !ranges.CIDRs[0].Contains(netip.MustParseAddr(web.Spec.ClusterIP)) {
		t.Errorf("the ranges are %v, and a Service has %s", ranges.CIDRs, web.Spec.ClusterIP)
	}
	r.mu.Unlock()

	// One that becomes another proxy's is gone.
	web.Labels = others
	_, err := s.Client().CoreV1().Services("shop").Update(t.Context(), web, metav1.UpdateOptions{})
	s.must("label the service", err)
	r.untilLine("deleted Service shop/web")
	wantLines(t, r.take(), "deleted Service shop/web")
}

// older is an API server that has no ServiceCIDRs: it answers as it does of any
// resource it does not know.
type older struct{ http.RoundTripper }

func (o older) RoundTrip(request *http.Request) (*http.Response, error) {
	if path, is := strings.CutSuffix(request.URL.Path, "servicecidrs"); is {
		request = request.Clone(request.Context())
		request.URL.Path = path + "unheardof"
	}
	return o.RoundTripper.RoundTrip(request)
}

func testOlderServer(t *testing.T, s server) {
	source, r := s.services(func(rt http.RoundTripper) http.RoundTripper { return older{rt} })
	if err := source.Healthy(); err != nil {
		t.Errorf("not healthy: %v", err)
	}
	for _, l := range r.take() {
		if strings.HasPrefix(l, "ServiceCIDR") || strings.HasPrefix(l, "problem") {
			t.Errorf("unexpected event %q", l)
		}
	}
}

func TestAnIdleWatchEnds(t *testing.T) {
	select {
	case _, open := <-idle(t.Context(), time.Millisecond).ResultChan():
		if open {
			t.Error("something happened")
		}
	case <-time.After(deadline):
		t.Error("its time has passed, and it goes on")
	}
	w := idle(t.Context(), time.Hour)
	w.Stop()
	select {
	case <-w.ResultChan():
	case <-time.After(deadline):
		t.Error("it was stopped, and it goes on")
	}
}
