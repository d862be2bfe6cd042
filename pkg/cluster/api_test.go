package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/sluice-cni/sluice/test/apiserver"
)

// link is the network between a source and the API server, which a test can cut.
type link struct {
	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (l *link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("the link is down")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

// set cuts the link, or mends it.
func (l *link) set(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	for _, conn := range l.conns {
		conn.Close()
	}
	l.conns = nil
}

// server is a test's API server, with shorthands for what tests do to it.
type server struct {
	*apiserver.APIServer
	t *testing.T
}

func (s server) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

func (s server) createPod(name string) {
	s.t.Helper()
	_, err := s.CreatePod(s.t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{
			Name: "c", Image: "i", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
	})
	s.must("create pod "+name, err)
}

func (s server) patchPod(name, patch string) {
	s.t.Helper()
	_, err := s.Client().CoreV1().Pods("shop").Patch(s.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	s.must("patch pod "+name, err)
}

func (s server) deletePod(name string) {
	s.t.Helper()
	s.must("delete pod "+name, s.DeletePod(s.t.Context(), "shop", name))
}

// source follows the server through l and waits until it is synced.
func (s server) source(l *link) (*APISource, *recorder) {
	s.t.Helper()
	config := s.Config()
	config.Dial = l.dial
	client, err := NewClient(config)
	s.must("make client", err)
	source := NewAPISource(client, APIOptions{})
	r := record(s.t, source)
	r.untilLine("synced")
	return source, r
}

func TestAPISource(t *testing.T) {
	s := server{apiserver.Start(t, apiserver.Options{}), t}
	s.must("create namespace", s.CreateNamespace(t.Context(), "shop", map[string]string{"team": "a"}))
	s.must("create node", s.CreateNode(t.Context(), "n1", []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}, netip.MustParseAddr("192.0.2.1")))
	for test, run := range map[string]func(*testing.T, server){
		"the first list is complete when synced": testFirstList,
		"only what counts is emitted":            testChanges,
		"a lost link loses nothing":              testLostLink,
		"a restarted server changes nothing":     testRestart,
		"protobuf is spoken":                     testProtobuf,
		"Services are those to balance here":     testServices,
		"an older server has no ServiceCIDRs":    testOlderServer,
	} {
		t.Run(test, func(t *testing.T) { run(t, server{s.APIServer, t}) })
	}
}

func testFirstList(t *testing.T, s server) {
	for i := range 50 {
		s.createPod(fmt.Sprintf("first-%d", i))
	}
	source, r := s.source(&link{})
	lines := r.take()
	if slices.Index(lines, "synced") != len(lines)-1 {
		t.Errorf("events came before synced that were not in the first list:\n  %s", strings.Join(lines, "\n  "))
	}
	for i := range 50 {
		if pod := r.pod("shop", fmt.Sprintf("first-%d", i)); pod == nil {
			t.Errorf("pod first-%d came after synced", i)
		} else if want := (&Pod{Key: pod.Key, UID: pod.UID, Node: "n1", Labels: map[string]string{"app": pod.Name},
			Ports: []NamedPort{{"http", "TCP", 8080}}}); !cmp.Equal(want, pod, addrs) {
			t.Errorf("pod (-want +got):\n%s", cmp.Diff(want, pod, addrs))
		}
	}
	r.mu.Lock()
	want := &Namespace{Name: "shop", Labels: map[string]string{"team": "a", corev1.LabelMetadataName: "shop"}}
	if diff := cmp.Diff(want, r.objects[identity{kindNamespace, Key{Name: "shop"}}]); diff != "" {
		t.Errorf("namespace (-want +got):\n%s", diff)
	}
	addr := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	node := &Node{Name: "n1", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}, Addrs: addr, Internal: addr}
	if got, ok := r.objects[identity{kindNode, Key{Name: "n1"}}].(*Node); ok {
		node.Created = got.Created // the server's clock
	}
	if diff := cmp.Diff(node, r.objects[identity{kindNode, Key{Name: "n1"}}], addrs); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	r.mu.Unlock()
	if err := source.Healthy(); err != nil {
		t.Errorf("not healthy: %v", err)
	}
	s.createPod("later")
	r.untilLine("Pod shop/later")
	wantLines(t, r.take(), "Pod shop/later")
}

func testChanges(t *testing.T, s server) {
	s.createPod("web")
	_, r := s.source(&link{})
	r.take()

	// What says nothing to Sluice is followed by what does: the one event that
	// comes is the last one's.
	s.patchPod("web", `{"metadata": {"annotations": {"a": "b"}}}`)
	s.patchPod("web", `{"metadata": {"labels": {"app": "api"}}}`)
	r.untilLine("Pod")
	wantLines(t, r.take(), "Pod shop/web")

	s.must("set status", s.SetPodStatus(t.Context(), "shop", "web", corev1.PodRunning, netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fd00::2")))
	r.untilLine("Pod")
	wantLines(t, r.take(), "Pod shop/web")
	if ips := r.pod("shop", "web").IPs; len(ips) != 2 {
		t.Errorf("addresses are %v, want both", ips)
	}
	s.must("set status", s.SetPodStatus(t.Context(), "shop", "web", corev1.PodSucceeded, netip.MustParseAddr("10.1.0.2")))
	r.untilLine("Pod")
	if pod := r.pod("shop", "web"); !pod.Finished || len(pod.IPs) > 0 {
		t.Errorf("after it succeeded the pod is %+v", pod)
	}
	r.take()
	s.deletePod("web")
	r.untilLine("deleted")
	wantLines(t, r.take(), "deleted Pod shop/web")

	policies := s.Client().NetworkingV1().NetworkPolicies("shop")
	policy, err := policies.Create(t.Context(), &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "deny"}}, metav1.CreateOptions{})
	s.must("create policy", err)
	r.untilLine("NetworkPolicy")
	policy.Labels = map[string]string{"a": "b"}
	policy, err = policies.Update(t.Context(), policy, metav1.UpdateOptions{})
	s.must("label policy", err)
	policy.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
	_, err = policies.Update(t.Context(), policy, metav1.UpdateOptions{})
	s.must("update policy", err)
	r.until("the rule", func() bool {
		p, _ := r.objects[identity{kindPolicy, Key{"shop", "deny"}}].(*networkingv1.NetworkPolicy)
		return p != nil && len(p.Spec.Ingress) == 1
	})
	s.must("delete policy", policies.Delete(t.Context(), "deny", metav1.DeleteOptions{}))
	r.untilLine("deleted")
	wantLines(t, r.take(), "NetworkPolicy shop/deny", "NetworkPolicy shop/deny", "deleted NetworkPolicy shop/deny")
}

func testLostLink(t *testing.T, s server) {
	for _, name := range []string{"stays", "goes", "replaced", "changes"} {
		s.createPod(name)
	}
	l := &link{}
	source, r := s.source(l)
	r.take()

	l.set(true)
	r.until("the failure", func() bool { return source.Healthy() != nil })
	r.untilLine("problem API server: ")
	s.deletePod("goes")
	s.deletePod("replaced")
	s.createPod("replaced")
	s.patchPod("changes", `{"metadata": {"labels": {"app": "other"}}}`)
	// A server that starts anew knows no history: the source has to list, and
	// learns of the deletions only by what is missing.
	s.Stop()
	s.must("start the API server again", s.Start(t.Context()))
	l.set(false)

	r.untilLine("deleted Pod shop/goes")
	r.untilLine("Pod shop/replaced")
	r.untilLine("Pod shop/changes")
	r.until("health", func() bool { return source.Healthy() == nil })
	var got []string
	for _, l := range r.take() {
		if !strings.HasPrefix(l, "problem ") {
			got = append(got, l)
		}
	}
	slices.Sort(got)
	wantLines(t, got, "Pod shop/changes", "Pod shop/replaced", "deleted Pod shop/goes", "deleted Pod shop/replaced")
}

func testRestart(t *testing.T, s server) {
	source, r := s.source(&link{})
	r.take()
	s.Stop()
	r.until("the failure", func() bool { return source.Healthy() != nil })
	s.must("start the API server again", s.Start(t.Context()))
	s.createPod("after")
	r.untilLine("Pod shop/after")
	for _, l := range r.take() {
		if l != "Pod shop/after" && !strings.HasPrefix(l, "problem ") {
			t.Errorf("unexpected event %q", l)
		}
	}
}

// contentTypes records the content types of answers.
type contentTypes struct {
	http.RoundTripper
	mu   sync.Mutex
	seen map[string]bool
}

func (c *contentTypes) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(request)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.seen[answer.Header.Get("Content-Type")] = true
	}
	return answer, err
}

func testProtobuf(t *testing.T, s server) {
	seen := &contentTypes{seen: make(map[string]bool)}
	config := s.Config()
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper { seen.RoundTripper = rt; return seen })
	client, err := NewClient(config)
	s.must("make client", err)
	r := record(t, NewAPISource(client, APIOptions{}))
	r.untilLine("synced")
	s.createPod("proto")
	r.untilLine("Pod shop/proto")
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for contentType := range seen.seen {
		if !strings.HasPrefix(contentType, "application/vnd.kubernetes.protobuf") {
			t.Errorf("an answer came as %q", contentType)
		}
	}
}

func TestAPISourceIsNotHealthyBeforeItHasListed(t *testing.T) {
	client, err := NewClient(&rest.Config{Host: "https://127.0.0.1:1"})
	wantError(t, err, "")
	source := NewAPISource(client, APIOptions{})
	wantError(t, source.Healthy(), "pods: not listed yet")
	r := record(t, source)
	r.untilLine("problem API server: ")
	wantError(t, source.Healthy(), "connection refused")
}
