package docs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/pkg/agent/config"
	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// The example of the agent's configuration is valid and has every field.
func TestExampleOfTheAgentsConfigurationIsValidAndWhole(t *testing.T) {
	path := filepath.Join(root, "build/config/agent.yaml")
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var has map[string]any
	if err := yaml.Unmarshal(data, &has); err != nil {
		t.Fatal(err)
	}
	for f := range reflect.TypeFor[config.Config]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, ok := has[name]; !ok {
			t.Errorf("%s: field %s is missing", path, name)
		}
	}
}

// Where the example says nothing of another default, it has the default.
func TestExampleOfTheAgentsConfigurationHasTheDefaults(t *testing.T) {
	cfg, err := config.Load(filepath.Join(root, "build/config/agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d := config.Default()
	d.NodeName, d.Kubeconfig = cfg.NodeName, cfg.Kubeconfig // the comments say so
	d.PodCIDRs, d.ServiceCIDRs = []string{}, []string{}
	if !reflect.DeepEqual(cfg, d) {
		t.Errorf("the example has\n%+v\nthe defaults are\n%+v", cfg, d)
	}
}

// A runtime takes the example of the CNI configuration, and so does the plugin;
// it finds the agent that the other example configures.
func TestExampleOfTheCNIConfigurationFitsTheAgents(t *testing.T) {
	path := filepath.Join(root, "build/config/10-sluice.conflist")
	list, err := libcni.ConfListFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(filepath.Join(root, "build/config/agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if list.Name != cfg.Network {
		t.Errorf("%s: name is %q, the agent serves network %q", path, list.Name, cfg.Network)
	}
	if len(list.Plugins) != 1 {
		t.Fatalf("%s: %d plugins", path, len(list.Plugins))
	}
	// What the runtime hands to the plugin: its part, with the list's name and version.
	var plugin map[string]any
	if err := json.Unmarshal(list.Plugins[0].Bytes, &plugin); err != nil {
		t.Fatal(err)
	}
	plugin["name"], plugin["cniVersion"] = list.Name, list.CNIVersion
	data, err := json.Marshal(plugin)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := wire.ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	if conf.Socket != cfg.Socket {
		t.Errorf("%s: socket is %q, the agent's is %q", path, conf.Socket, cfg.Socket)
	}
}
