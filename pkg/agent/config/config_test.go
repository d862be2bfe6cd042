package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sluice-cni/sluice/pkg/nodes"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const head = "apiVersion: agent.sluice.dev/v1alpha1\nkind: AgentConfiguration\n"

func TestDefaultsAreValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestAFileIsReadOverTheDefaults(t *testing.T) {
	c, err := Load(write(t, head+"nodeName: n1\nmtu: 1400\npodCIDRs: [10.1.0.0/24, \"fd00:1::/64\"]\nlogging: {format: json}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.NodeName != "n1" || c.MTU != 1400 || c.Bridge != "br-sluice" || len(c.PodCIDRs) != 2 || c.Logging.Format != "json" {
		t.Errorf("read %+v", c)
	}
}

func TestABadFileIsRefusedByTheNameOfTheField(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":       {head + "brige: br0\n", `unknown field "brige"`},
		"no kind":             {"mtu: 1500\n", "kind"},
		"other version":       {"apiVersion: agent.sluice.dev/v2\nkind: AgentConfiguration\n", "apiVersion"},
		"two sources":         {head + "kubeconfig: /a\nmanifests: /b\n", "manifests"},
		"CIDR with host bits": {head + "podCIDRs: [10.1.0.1/24]\n", "podCIDRs[0]"},
		"two of a family":     {head + "podCIDRs: [10.1.0.0/24, 10.2.0.0/24]\n", "podCIDRs[1]"},
		"long bridge name":    {head + "bridge: a-name-that-is-too-long\n", "bridge"},
		"one name for both":   {head + "bridge: br0\ngateway: br0\n", "gateway"},
		"relative socket":     {head + "socket: agent.sock\n", "socket"},
		"small mtu":           {head + "mtu: 576\n", "mtu"},
		"mode":                {head + "mode: overlay\n", "mode"},
		"services":            {head + "services: none\n", "services"},
		"service CIDR":        {head + "serviceCIDRs: [10.96.0.1/12]\n", "serviceCIDRs[0]"},
		"tunnel":              {head + "tunnel: gre\n", "tunnel"},
		"openflow":            {head + "openflow: 1.5\n", "openflow"},
		"datapath":            {head + "datapath: dpdk\n", "datapath"},
		"ovsdb":               {head + "ovsdb: /var/run/db.sock\n", "ovsdb"},
		"health address":      {head + "healthAddress: nowhere\n", "healthAddress"},
		"page for others":     {head + "uiAddress: 0.0.0.0:10352\n", "uiAddress"},
		"page by a name":      {head + "uiAddress: localhost:10352\n", "uiAddress"},
		"not YAML":            {head + "mtu: [\n", "agent.yaml"},
		"too large":           {head + strings.Repeat("#", maxFile), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := Load(write(t, c.text))
			if err == nil {
				err = cfg.Validate()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that names %s", err, c.want)
			}
		})
	}
}

func TestFlagsCountOverTheFile(t *testing.T) {
	given := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	given.String("config", "", "")
	Default().AddFlags(given)
	if err := given.Parse([]string{"--config=f", "--mtu=1450", "--mode=hybrid", "--tunnel=vxlan", "--pod-cidrs=10.3.0.0/24,fd00:3::/64", "-v=3"}); err != nil {
		t.Fatal(err)
	}
	c, err := Load(write(t, head+"mtu: 1400\nbridge: br1\npodCIDRs: [10.1.0.0/24]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Override(given); err != nil {
		t.Fatal(err)
	}
	if c.MTU != 1450 || c.Mode != nodes.Hybrid || c.Tunnel != "vxlan" || c.Bridge != "br1" || strings.Join(c.PodCIDRs, " ") != "10.3.0.0/24 fd00:3::/64" || c.Logging.Verbosity != 3 {
		t.Errorf("after the flags: %+v", c)
	}
}
