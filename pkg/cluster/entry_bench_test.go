package cluster

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// BenchmarkTrim reports what a pod of a replicated workload takes in an
// informer's store, in bytes, beside the time to trim it.
func BenchmarkTrim(b *testing.B) {
	trim := trimmer(&shapes{})
	entries := make([]any, 0, b.N)
	before := heap()
	for i := 0; b.Loop(); i++ {
		e, err := trim(apiPod(i))
		if err != nil {
			b.Fatal(err)
		}
		entries = append(entries, e)
	}
	b.ReportMetric(float64(heap()-before)/float64(len(entries)), "B/pod")
	runtime.KeepAlive(entries)
}

// apiPod is one of fifty replicas, as decoded from an API answer: no string of
// it is shared with another pod.
func apiPod(i int) *corev1.Pod {
	workload := i / 50
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("namespace-%d", workload/10), Name: fmt.Sprintf("workload-%d-5d4f8c7b9-%05d", workload, i),
			UID: types.UID(fmt.Sprintf("6a3f1c52-8d0e-4f7b-9a61-%012d", i)), ResourceVersion: fmt.Sprint(1000000 + i),
			Labels: map[string]string{
				"app.kubernetes.io/name": fmt.Sprintf("workload-%d", workload), "app.kubernetes.io/part-of": fmt.Sprintf("system-%d", workload/10),
				"app.kubernetes.io/version": fmt.Sprintf("1.%d.0", workload), "pod-template-hash": fmt.Sprintf("5d4f8c%04d", workload),
			},
		},
		Spec: corev1.PodSpec{NodeName: fmt.Sprintf("node-%d.example.net", i%1000), Containers: []corev1.Container{{
			Ports: []corev1.ContainerPort{{Name: fmt.Sprint("http", ""), ContainerPort: 8080}, {Name: fmt.Sprint("metrics", ""), ContainerPort: 9090}}}}},
		Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)}, {IP: fmt.Sprintf("fd00::%x", i)}}},
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkTrimService reports what a Service with a slice of 10 endpoints takes
// in the informers' stores, in bytes, beside the time to trim both.
func BenchmarkTrimService(b *testing.B) {
	trim := trimmer(&shapes{})
	var entries []any
	before := heap()
	for i := 0; b.Loop(); i++ {
		for _, in := range []any{apiService(i), apiSlice(i)} {
			e, err := trim(in)
			if err != nil {
				b.Fatal(err)
			}
			entries = append(entries, e)
		}
	}
	b.ReportMetric(float64(heap()-before)/float64(len(entries)/2), "B/service")
	runtime.KeepAlive(entries)
}

func apiService(i int) *corev1.Service {
	ip := fmt.Sprintf("10.96.%d.%d", i>>8&255, i&255)
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("namespace-%d", i/10), Name: fmt.Sprintf("service-%d", i), ResourceVersion: fmt.Sprint(1000000 + i)},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, Ports: []corev1.ServicePort{{Name: "http", Protocol: "TCP", Port: 80}}},
	}
}

func apiSlice(i int) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("namespace-%d", i/10), Name: fmt.Sprintf("service-%d-x7k2p", i),
			ResourceVersion: fmt.Sprint(2000000 + i), Labels: map[string]string{discoveryv1.LabelServiceName: fmt.Sprintf("service-%d", i)}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("http"), Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(int32(8080))}},
	}
	for j := range 10 {
		n := i*10 + j
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 128+n>>16, n>>8&255, n&255)}, NodeName: ptr.To(fmt.Sprintf("node-%d.example.net", n%500)),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true), Serving: ptr.To(true), Terminating: ptr.To(false)},
		})
	}
	return s
}
