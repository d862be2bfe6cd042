package cluster

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

var addrs = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestTrimPod(t *testing.T) {
	port := func(name string, number int32, protocol corev1.Protocol) corev1.ContainerPort {
		return corev1.ContainerPort{Name: name, ContainerPort: number, Protocol: protocol}
	}
	for _, test := range []struct {
		name string
		in   corev1.Pod
		want Pod
		err  string // a part of the error; none expected if empty
	}{
		{
			name: "a running pod with addresses of both families",
			in: corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{UID: "u1", Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{NodeName: "n1"},
				Status:     corev1.PodStatus{PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}}},
			},
			want: Pod{UID: "u1", Node: "n1", Labels: map[string]string{"app": "web"},
				IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}},
		},
		{
			name: "status.podIP alone",
			in:   corev1.Pod{Status: corev1.PodStatus{PodIP: "10.0.0.1"}},
			want: Pod{IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
		},
		{
			name: "an address said twice, once mapped into IPv6",
			in:   corev1.Pod{Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "::ffff:10.0.0.1"}}}},
			want: Pod{IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
		},
		{
			name: "an address that is none leaves the others",
			in:   corev1.Pod{Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.0.0.300"}, {IP: "fd00::1"}}}},
			want: Pod{IPs: []netip.Addr{netip.MustParseAddr("fd00::1")}},
			err:  `Pod ns/p: status.podIPs[0].ip: Invalid value: "10.0.0.300": not an IP address`,
		},
		{
			name: "an address with a zone",
			in:   corev1.Pod{Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "fe80::1%eth0"}}}},
			err:  `Pod ns/p: status.podIPs[0].ip: Invalid value: "fe80::1%eth0": an address with a zone`,
		},
		{
			name: "a static pod is known by its hash",
			in: corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "mirror", Annotations: map[string]string{
				annotationConfigHash: "h1", annotationConfigMirror: "h1"}}},
			want: Pod{UID: "h1"},
		},
		{
			name: "a hash does not make a pod static",
			in:   corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u1", Annotations: map[string]string{annotationConfigHash: "h1"}}},
			want: Pod{UID: "u1"},
		},
		{
			name: "a pod in the node's network",
			in:   corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true}},
			want: Pod{HostNetwork: true},
		},
		{
			name: "a pod that succeeded has given back its address",
			in:   corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodSucceeded, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}}},
			want: Pod{Finished: true},
		},
		{
			name: "so has one that failed",
			in:   corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, PodIP: "10.0.0.1"}},
			want: Pod{Finished: true},
		},
		{
			name: "a pod on its way out has not",
			in: corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}},
				Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"}},
			want: Pod{IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}},
		},
		{
			name: "named ports, those of restartable init containers last, others' not at all",
			in: corev1.Pod{Spec: corev1.PodSpec{
				InitContainers: []corev1.Container{
					{Ports: []corev1.ContainerPort{port("setup", 1, "TCP")}},
					{RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Ports: []corev1.ContainerPort{port("proxy", 2, "SCTP")}},
				},
				Containers: []corev1.Container{
					{Ports: []corev1.ContainerPort{port("", 3, "TCP"), port("web", 80, ""), port("dns", 53, "UDP")}},
				},
			}},
			want: Pod{Ports: []NamedPort{{"web", "TCP", 80}, {"dns", "UDP", 53}, {"proxy", "SCTP", 2}}},
		},
		{
			name: "the first port of a name and protocol counts",
			in: corev1.Pod{Spec: corev1.PodSpec{
				InitContainers: []corev1.Container{{RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Ports: []corev1.ContainerPort{port("web", 1, "TCP")}}},
				Containers:     []corev1.Container{{Ports: []corev1.ContainerPort{port("web", 80, "TCP")}}, {Ports: []corev1.ContainerPort{port("web", 81, "TCP"), port("web", 82, "UDP")}}},
			}},
			want: Pod{Ports: []NamedPort{{"web", "TCP", 80}, {"web", "UDP", 82}}},
		},
		{
			name: "ports out of range and unknown protocols",
			in: corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{
				port("a", 0, "TCP"), port("b", 70000, "TCP"), port("c", 1, "tcp"), port("d", 65535, "TCP")}}}}},
			want: Pod{Ports: []NamedPort{{"d", "TCP", 65535}}},
			err:  "spec.containers[0].ports[1].containerPort: Invalid value: 70000",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.in.Namespace, test.in.Name = "ns", "p"
			test.want.Key = Key{"ns", "p"}
			before := test.in.DeepCopy()
			got, err := TrimPod(&test.in)
			if diff := cmp.Diff(&test.want, got, addrs); diff != "" {
				t.Errorf("pod (-want +got):\n%s", diff)
			}
			wantError(t, err, test.err)
			if diff := cmp.Diff(before, &test.in); diff != "" {
				t.Errorf("the pod given was changed:\n%s", diff)
			}
		})
	}
}

func TestTrimNamespaceAlwaysCarriesItsName(t *testing.T) {
	in := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{
		"team": "a", corev1.LabelMetadataName: "bank"}}}
	want := &Namespace{Name: "shop", Labels: map[string]string{"team": "a", corev1.LabelMetadataName: "shop"}}
	if diff := cmp.Diff(want, TrimNamespace(in)); diff != "" {
		t.Errorf("namespace (-want +got):\n%s", diff)
	}
	if in.Labels[corev1.LabelMetadataName] != "bank" {
		t.Error("the namespace given was changed")
	}
}

func TestTrimNode(t *testing.T) {
	for _, test := range []struct {
		name string
		in   corev1.Node
		want Node
		err  string
	}{
		{
			name: "both families, addresses the node is reached by",
			in: corev1.Node{
				ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Unix(1700000000, 0)},
				Spec:       corev1.NodeSpec{PodCIDR: "10.1.0.0/24", PodCIDRs: []string{"10.1.0.0/24", "fd00:1::/64"}},
				Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
					{Type: corev1.NodeHostName, Address: "n1"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.1"},
					{Type: corev1.NodeInternalIP, Address: "2001:db8::1"}, {Type: corev1.NodeExternalIP, Address: "203.0.113.1"}}},
			},
			want: Node{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00:1::/64")},
				Addrs:    []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("203.0.113.1")},
				Internal: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
				Created:  1700000000},
		},
		{
			name: "the autoscaler is about to remove it",
			in:   corev1.Node{Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "other"}, {Key: "ToBeDeletedByClusterAutoscaler", Effect: corev1.TaintEffectNoSchedule}}}},
			want: Node{Leaving: true},
		},
		{
			name: "spec.podCIDR alone, with host bits",
			in:   corev1.Node{Spec: corev1.NodeSpec{PodCIDR: "10.1.0.7/24"}},
			want: Node{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}},
		},
		{
			name: "bad ranges and addresses are named",
			in: corev1.Node{Spec: corev1.NodeSpec{PodCIDRs: []string{"10.1.0.0/33"}},
				Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "x"}}}},
			err: `Node n: [spec.podCIDRs[0]: Invalid value: "10.1.0.0/33": not a CIDR, status.addresses[0].address: Invalid value: "x"`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.in.Name, test.want.Name = "n", "n"
			got, err := TrimNode(&test.in)
			if diff := cmp.Diff(&test.want, got, addrs); diff != "" {
				t.Errorf("node (-want +got):\n%s", diff)
			}
			wantError(t, err, test.err)
		})
	}
}

// wantError checks that err is nil if want is empty, else that it says want.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got error %v, want one that says %q", err, want)
	}
}
