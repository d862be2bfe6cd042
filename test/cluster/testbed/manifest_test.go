package testbed

import (
	"strings"
	"testing"
)

const manifest = `# Comment
kind: Namespace
metadata:
  name: x
---
kind: ConfigMap
metadata:
  name: sluice-config
data:
  agent.yaml: |
    datapath: auto
    kind: AgentConfiguration
  10-sluice.conflist: |
    {"name": "sluice", "plugins": [{"type": "sluice-cni"}]}
  other: kept
---
kind: Namespace
metadata:
  name: y
`

func TestFieldsOfTheAgentAreSetInTheManifest(t *testing.T) {
	got, err := configure([]byte(manifest), map[string]string{"mode": "noEncap", "mtu": "1400", "datapath": "netdev"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mode: noEncap\n", "mtu: 1400\n", "datapath: netdev\n", "kind: AgentConfiguration\n", "other: kept", "name: x", "name: y"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestPluginsAreAddedToTheChainInTheManifest(t *testing.T) {
	got, err := configure([]byte(manifest), nil, map[string]any{"type": "portmap"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"name":"sluice","plugins":[{"type":"sluice-cni"},{"type":"portmap"}]`, "datapath: auto\n", "other: kept"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestAManifestIsLeftAloneIfNoFieldIsGiven(t *testing.T) {
	if got, err := configure([]byte(manifest), nil); err != nil || string(got) != manifest {
		t.Errorf("got %v and\n%s", err, got)
	}
}

func TestAManifestWithoutTheAgentIsRefused(t *testing.T) {
	if _, err := configure([]byte("kind: Namespace\n"), map[string]string{"mtu": "1400"}); err == nil {
		t.Error("fields are set nowhere")
	}
}
