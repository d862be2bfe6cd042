package cluster

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/tools/cache"
)

func TestHandler(t *testing.T) {
	pod := func(uid string, ports ...NamedPort) *entry {
		return &entry{object: &Pod{Key: Key{"shop", "web"}, UID: uid, Ports: ports}}
	}
	broken := &entry{object: &Pod{Key: Key{"shop", "web"}}, problem: errors.New("bad address")}
	for _, test := range []struct {
		name   string
		notify func(cache.ResourceEventHandler)
		want   []string
	}{
		{"an addition", func(h cache.ResourceEventHandler) { h.OnAdd(pod("1"), true) }, []string{"Pod shop/web"}},
		{"a change that is none", func(h cache.ResourceEventHandler) { h.OnUpdate(pod("1"), pod("1")) }, nil},
		{"a change", func(h cache.ResourceEventHandler) { h.OnUpdate(pod("1"), pod("1", NamedPort{"a", "TCP", 1})) }, []string{"Pod shop/web"}},
		{"a successor", func(h cache.ResourceEventHandler) { h.OnUpdate(pod("1"), pod("2")) }, []string{"deleted Pod shop/web", "Pod shop/web"}},
		{"a deletion", func(h cache.ResourceEventHandler) { h.OnDelete(pod("1")) }, []string{"deleted Pod shop/web"}},
		{"a tombstone", func(h cache.ResourceEventHandler) {
			h.OnDelete(cache.DeletedFinalStateUnknown{Key: "shop/web", Obj: pod("1")})
		}, []string{"deleted Pod shop/web"}},
		{"a tombstone of which only the key is known", func(h cache.ResourceEventHandler) {
			h.OnDelete(cache.DeletedFinalStateUnknown{Key: "shop/web"})
		}, []string{"deleted Pod shop/web"}},
		{"a problem, once", func(h cache.ResourceEventHandler) { h.OnAdd(broken, false); h.OnUpdate(broken, broken) },
			[]string{"problem bad address", "Pod shop/web"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := newQueue()
			test.notify(handler(kindPod, q.push))
			var lines []string
			for _, e := range q.drain() {
				lines = append(lines, line(e))
			}
			wantLines(t, lines, test.want...)
		})
	}
}

func TestTombstonesOfEveryKind(t *testing.T) {
	for kind, want := range map[string]string{kindPod: "shop/web", kindPolicy: "shop/web", kindNamespace: "web", kindNode: "web", kindService: "shop/web", kindSlice: "shop/web", kindRange: "web"} {
		if got := identify(lastKnown(kind, cache.DeletedFinalStateUnknown{Key: want})).String(); got != kind+" "+want {
			t.Errorf("tombstone of %s %s names %s", kind, want, got)
		}
	}
}

func TestEntriesAreKeyedLikeTheirObjects(t *testing.T) {
	trim := trimmer(&shapes{})
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name, pod.ResourceVersion = "shop", "web", "7"
	policy := &networkingv1.NetworkPolicy{ObjectMeta: pod.ObjectMeta}
	node, namespace := &corev1.Node{}, &corev1.Namespace{}
	node.Name, namespace.Name = "n1", "shop"
	service, slice, cidr := &corev1.Service{ObjectMeta: pod.ObjectMeta}, &discoveryv1.EndpointSlice{ObjectMeta: pod.ObjectMeta}, &networkingv1.ServiceCIDR{}
	cidr.Name = "kubernetes"
	for _, in := range []any{pod, policy, node, namespace, service, slice, cidr} {
		want, err := cache.MetaNamespaceKeyFunc(in)
		wantError(t, err, "")
		once, err := trim(in)
		wantError(t, err, "")
		twice, err := trim(once)
		wantError(t, err, "")
		if once != twice {
			t.Errorf("%T: trimming an entry makes another", in)
		}
		if got, err := cache.MetaNamespaceKeyFunc(once); err != nil || got != want {
			t.Errorf("%T: key of the entry is %q (%v), want %q", in, got, err, want)
		}
	}
}

func TestReplicasShareTheirShape(t *testing.T) {
	shared := &shapes{}
	replica := func(i int) (*Pod, *shape) {
		pod := &Pod{Key: Key{"shop", fmt.Sprint("web-", i)}, Labels: map[string]string{"app": "web"}, Ports: []NamedPort{{"http", "TCP", 80}}}
		return pod, shared.share(pod)
	}
	a, shapeOfA := replica(1)
	b, shapeOfB := replica(2)
	if shapeOfA != shapeOfB || &a.Ports[0] != &b.Ports[0] {
		t.Error("replicas do not share labels and ports")
	}
	other := &Pod{Labels: map[string]string{"app": "web"}}
	if shared.share(other) == shapeOfA || other.Ports != nil {
		t.Error("a pod without ports got those of another")
	}
	runtime.KeepAlive(shapeOfA)
	runtime.KeepAlive(shapeOfB)

	// Nothing is kept of what no pod has any more.
	for range 100 {
		runtime.GC()
		shared.mu.Lock()
		left := len(shared.known)
		shared.mu.Unlock()
		if left == 0 {
			return
		}
		runtime.Gosched()
	}
	t.Error("shapes without pods are still known")
}
