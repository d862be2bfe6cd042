// Command manifests renders the Helm chart into the manifests of this folder,
// for those who install with kubectl alone: run it in its folder, or `make
// manifests`. The chart is the one source of both.
package main

import (
	"fmt"
	"os"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
)

// namespace is where everything is installed. kube-system is there from the
// start, and some clusters keep critical priorities for it.
const namespace = "kube-system"

// chartDir is the chart's folder, from this one.
const chartDir = "../chart"

// variants are the manifests and the values that each is rendered with.
var variants = []struct {
	file, about string
	values      map[string]any
}{
	{"sluice.yaml", "Sluice, with Open vSwitch in pods of its own.", nil},
	{"sluice-host-ovs.yaml", "Sluice, on the nodes' own Open vSwitch.", hostOVS},
	{"sluice-cleanup.yaml", "Takes Sluice off the nodes.", map[string]any{"cleanup": true}},
	{"sluice-host-ovs-cleanup.yaml", "Takes Sluice off nodes with their own Open vSwitch.",
		map[string]any{"cleanup": true, "ovs": hostOVS["ovs"]}},
}

var hostOVS = map[string]any{"ovs": map[string]any{"mode": "host"}}

func main() {
	for _, v := range variants {
		text, err := render(chartDir, v.about, v.values)
		if err == nil {
			err = os.WriteFile(v.file, []byte(text), 0o644)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "manifests: %s: %v\n", v.file, err)
			os.Exit(1)
		}
	}
}

// render returns the manifest that the chart in a folder makes of values over
// its defaults, in the order in which Helm installs.
func render(dir, about string, values map[string]any) (string, error) {
	chart, err := loader.Load(dir)
	if err != nil {
		return "", fmt.Errorf("load chart %s: %w", dir, err)
	}
	release := chartutil.ReleaseOptions{Name: "sluice", Namespace: namespace, Revision: 1, IsInstall: true}
	merged, err := chartutil.ToRenderValues(chart, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return "", fmt.Errorf("values of chart %s: %w", dir, err)
	}
	files, err := (engine.Engine{Strict: true}).Render(chart, merged)
	if err != nil {
		return "", fmt.Errorf("render chart %s: %w", dir, err)
	}
	for name := range files {
		if !strings.HasSuffix(name, ".yaml") {
			delete(files, name)
		}
	}
	_, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return "", fmt.Errorf("sort manifests of chart %s: %w", dir, err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# %s See docs/install.md.\n# Rendered from build/chart by `make manifests`.\n", about)
	for _, m := range manifests {
		fmt.Fprintf(&text, "---\n%s\n", strings.TrimSpace(m.Content))
	}
	return text.String(), nil
}
