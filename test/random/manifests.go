package random

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// Manifests renders a cluster as YAML documents, to be replayed from a file.
func Manifests(w *Cluster) []byte {
	var b bytes.Buffer
	for _, n := range w.Nodes {
		document(&b, "v1", "Node", n, "status.daemonEndpoints", "status.nodeInfo")
	}
	for _, n := range w.Namespaces {
		document(&b, "v1", "Namespace", n, "spec", "status")
	}
	for _, p := range w.Pods {
		document(&b, "v1", "Pod", p, "spec.containers.resources", "spec.initContainers.resources")
	}
	for _, p := range w.Policies {
		document(&b, "networking.k8s.io/v1", "NetworkPolicy", p)
	}
	return b.Bytes()
}

// document appends an object without the fields at the given paths, which are
// always written and always empty here. The type meta of objects that the API
// server lists is empty, so it is set.
func document(b *bytes.Buffer, apiVersion, kind string, object any, noise ...string) {
	y, err := yaml.Marshal(object)
	var fields map[string]any
	if err == nil {
		err = yaml.Unmarshal(y, &fields)
	}
	if err == nil {
		fields["apiVersion"], fields["kind"] = apiVersion, kind
		for _, path := range noise {
			remove(fields, path)
		}
		y, err = yaml.Marshal(fields)
	}
	if err != nil {
		panic(fmt.Sprintf("rendering a %s: %v", kind, err)) // API objects always render
	}
	fmt.Fprintf(b, "---\n%s", y)
}

// remove deletes a field; a list on the way stands for all of its elements.
func remove(from any, path string) {
	switch from := from.(type) {
	case []any:
		for _, e := range from {
			remove(e, path)
		}
	case map[string]any:
		key, rest, deeper := strings.Cut(path, ".")
		if deeper {
			remove(from[key], rest)
		} else {
			delete(from, key)
		}
	}
}
