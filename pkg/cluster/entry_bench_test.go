package cluster

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
