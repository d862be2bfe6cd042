package random

import (
	"bytes"
	"fmt"

	"sigs.k8s.io/yaml"
)

// Manifests renders a cluster as YAML documents, to be replayed from a file.
func Manifests(w *Cluster) []byte {
	var b bytes.Buffer
	for _, n := range w.Nodes {
		document(&b, "v1", "Node", n)
	}
	for _, n := range w.Namespaces {
		document(&b, "v1", "Namespace", n)
	}
	for _, p := range w.Pods {
		document(&b, "v1", "Pod", p)
	}
	for _, p := range w.Policies {
		document(&b, "networking.k8s.io/v1", "NetworkPolicy", p)
	}
	return b.Bytes()
}

// document appends an object. Its type meta is empty, as in objects that the
// API server lists, and so written here.
func document(b *bytes.Buffer, apiVersion, kind string, object any) {
	y, err := yaml.Marshal(object)
	if err != nil {
		panic(fmt.Sprintf("rendering a %s: %v", kind, err)) // API objects always render
	}
	fmt.Fprintf(b, "---\napiVersion: %s\nkind: %s\n%s", apiVersion, kind, y)
}
