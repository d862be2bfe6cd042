package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

func TestConfigHasDefaults(t *testing.T) {
	c, err := ParseConfig([]byte(`{"cniVersion":"1.1.0","name":"sluice","type":"sluice-cni"}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Socket != DefaultSocket || c.Timeout != DefaultTimeout || c.MTU != 0 || c.HasValid {
		t.Errorf("got %+v", c)
	}
}

func TestConfigKeys(t *testing.T) {
	c, err := ParseConfig([]byte(`{"cniVersion":"1.0.0","name":"n","socket":"/tmp/a.sock","requestTimeout":"1m30s","mtu":1400,
		"dns":{"nameservers":["10.96.0.10"]},"cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"}],
		"runtimeConfig":{"portMappings":[]},"capabilities":{"bandwidth":true},"args":{"labels":[]},"someone.else/key":[1],"ipam":{},"ipMasq":false,
		"prevResult":{"ips":[{"address":"10.0.0.5/32"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Socket != "/tmp/a.sock" || c.Timeout != 90*time.Second || c.MTU != 1400 || c.DNS.Nameservers[0] != "10.96.0.10" ||
		!c.HasValid || c.Valid[0].IfName != "eth0" {
		t.Errorf("got %+v", c)
	}
	if prev, err := c.PrevResult(); err != nil || prev.Version() != "1.0.0" {
		t.Errorf("prevResult is %v (%v)", prev, err)
	}
}

func TestConfigTellsAnEmptyValidListFromNone(t *testing.T) {
	for text, want := range map[string]bool{
		`{"name":"n"}`: false,
		`{"name":"n","cni.dev/valid-attachments":null}`: true,
		`{"name":"n","cni.dev/valid-attachments":[]}`:   true,
	} {
		c, err := ParseConfig([]byte(text))
		if err != nil || c.HasValid != want || len(c.Valid) != 0 {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
}

func TestConfigOfEveryVersionTakesItsPrevResult(t *testing.T) {
	for _, v := range version.All.SupportedVersions() {
		text := fmt.Sprintf(`{"cniVersion":%q,"name":"n","prevResult":{"dns":{}}}`, v)
		c, err := ParseConfig([]byte(text))
		if err != nil {
			t.Errorf("version %s: %v", v, err)
			continue
		}
		if prev, err := c.PrevResult(); err != nil || prev.Version() != v {
			t.Errorf("version %s: %v, %v", v, prev, err)
		}
	}
}

func TestASpoiltPrevResultHindersOnlyWhoNeedsIt(t *testing.T) {
	for text, want := range map[string]string{
		`{"name":"n"}`: "prevResult: is missing",
		`{"name":"n","cniVersion":"1.1.0","prevResult":{"ips":[{"address":"nowhere"}]}}`: "prevResult: invalid CIDR address",
	} {
		c, err := ParseConfig([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.PrevResult(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for _, c := range []struct {
		text string
		code uint
		want string
	}{
		{``, types.ErrDecodingFailure, "not a JSON object"},
		{`[]`, types.ErrDecodingFailure, "not a JSON object"},
		{`null`, types.ErrDecodingFailure, "not a JSON object"},
		{`{"name":"n",}`, types.ErrDecodingFailure, "not a JSON object"},
		{`{}`, types.ErrInvalidNetworkConfig, "name: is missing"},
		{`{"name":7}`, types.ErrDecodingFailure, "name: is a number where a string is expected"},
		{`{"name":"a b"}`, types.ErrInvalidNetworkConfig, `name: "a b" has characters`},
		{`{"name":"` + strings.Repeat("n", 254) + `"}`, types.ErrInvalidNetworkConfig, "name: has 254 characters"},
		{`{"name":"n","cniVersion":"9.9.9"}`, types.ErrIncompatibleCNIVersion, `cniVersion: "9.9.9" is not supported`},
		{`{"name":"n","cniVersion":1}`, types.ErrDecodingFailure, "cniVersion: is a number"},
		{`{"name":"n","socket":"agent.sock"}`, types.ErrInvalidNetworkConfig, `socket: "agent.sock" is not an absolute path`},
		{`{"name":"n","socket":"/` + strings.Repeat("s", 107) + `"}`, types.ErrInvalidNetworkConfig, "socket: has 108 bytes"},
		{`{"name":"n","socket":"/a\u0000b"}`, types.ErrInvalidNetworkConfig, "socket: contains a zero byte"},
		{`{"name":"n","requestTimeout":30}`, types.ErrDecodingFailure, "requestTimeout: is a number"},
		{`{"name":"n","requestTimeout":"soon"}`, types.ErrInvalidNetworkConfig, `requestTimeout: "soon" is not a duration`},
		{`{"name":"n","requestTimeout":"1h"}`, types.ErrInvalidNetworkConfig, "requestTimeout: 1h0m0s is not between"},
		{`{"name":"n","mtu":576}`, types.ErrInvalidNetworkConfig, "mtu: 576 is not between 1280 and 65535"},
		{`{"name":"n","mtu":-1}`, types.ErrInvalidNetworkConfig, "mtu: -1"},
		{`{"name":"n","dns":"10.96.0.10"}`, types.ErrDecodingFailure, "dns: is a string"},
		{`{"name":"n","ipam":{"type":"host-local"}}`, types.ErrUnsupportedField, `ipam.type: "host-local" is not supported`},
		{`{"name":"n","ipMasq":true}`, types.ErrUnsupportedField, "ipMasq: true is not supported"},
		{`{"name":"n","runtimeConfig":1}`, types.ErrDecodingFailure, "runtimeConfig: is a number"},
		{`{"name":"n","prevResult":[]}`, types.ErrDecodingFailure, "prevResult: is a array"},
		{`{"name":"n","cni.dev/valid-attachments":[{"containerID":"c"}]}`, types.ErrInvalidNetworkConfig, "cni.dev/valid-attachments[0]: lacks"},
		{`{"name":"` + strings.Repeat("n", MaxBody) + `"}`, types.ErrInvalidNetworkConfig, "at most 4194304 are allowed"},
	} {
		_, err := ParseConfig([]byte(c.text))
		var e *types.Error
		if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Error(), c.want) {
			t.Errorf("ParseConfig(%.60s): %v, want code %d with %q", c.text, err, c.code, c.want)
		}
	}
}

func TestPortNameFitsAnInterface(t *testing.T) {
	name := PortName("4c1f", "eth0")
	if len(name) != 15 || !strings.HasPrefix(name, "sl") {
		t.Errorf("PortName is %q", name)
	}
	if name == PortName("4c1f", "eth1") || name != PortName("4c1f", "eth0") {
		t.Error("PortName does not tell attachments apart, or not always the same way")
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"1.1.0","name":"sluice","type":"sluice-cni","socket":"/run/sluice/agent.sock","requestTimeout":"30s","mtu":1400}`))
	f.Add([]byte(`{"cniVersion":"0.2.0","name":"n","prevResult":{"ip4":{"ip":"10.0.0.5/32"}},"cni.dev/valid-attachments":[{"containerID":"c","ifname":"e"}]}`))
	f.Add([]byte(`{"name":"n","ipam":{"type":"x"},"dns":{"search":["a"]},"runtimeConfig":{"mac":"00:11:22:33:44:55"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			var e *types.Error
			if c != nil || !errors.As(err, &e) || e.Code == 0 || e.Msg == "" {
				t.Fatalf("no proper error: %v, %v", c, err)
			}
			return
		}
		if c.Name == "" || c.Socket == "" || c.Timeout < MinTimeout || c.Timeout > MaxTimeout || c.MTU < 0 || c.MTU > maxMTU {
			t.Fatalf("accepted %+v", c)
		}
		if prev, err := c.PrevResult(); err == nil && prev.Version() != c.CNIVersion {
			t.Fatalf("prevResult of version %s in a configuration of %s", prev.Version(), c.CNIVersion)
		}
	})
}
