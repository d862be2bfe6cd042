package random

import (
	"bytes"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Manifests renders a cluster as YAML documents, to be replayed from a file.
func Manifests(w *Cluster) []byte {
	var b bytes.Buffer
	// Objects as the API server lists them have an empty type meta.
	for _, n := range copies(w.Nodes) {
		n.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}
		document(&b, n)
	}
	for _, n := range copies(w.Namespaces) {
		n.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}
		document(&b, n)
	}
	for _, p := range copies(w.Pods) {
		p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		document(&b, p)
	}
	for _, p := range copies(w.Policies) {
		p.TypeMeta = metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"}
		document(&b, p)
	}
	return b.Bytes()
}

func document(b *bytes.Buffer, object any) {
	y, err := yaml.Marshal(object)
	if err != nil {
		panic(fmt.Sprintf("rendering %T: %v", object, err)) // API objects always render
	}
	fmt.Fprintf(b, "---\n%s", y)
}
