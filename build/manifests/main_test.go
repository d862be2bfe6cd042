package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestManifestsAreWhatTheChartRenders(t *testing.T) {
	for _, v := range variants {
		want, err := render(chartDir, v.about, v.values)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(v.file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s: run `make manifests` (-chart +file):\n%s", v.file, diff)
		}
	}
}

func TestValuesReachTheManifest(t *testing.T) {
	for name, c := range map[string]struct {
		values     map[string]any
		want, none []string
	}{
		"kernel's datapath": {
			map[string]any{"agent": map[string]any{"config": map[string]any{"datapath": "system", "mtu": 1400}}},
			[]string{"    datapath: system\n    mtu: 1400\n"}, []string{"NET_RAW", "/dev/net"},
		},
		"API server": {
			map[string]any{"apiServer": map[string]any{"host": "10.0.0.1", "port": 6443}},
			[]string{"KUBERNETES_SERVICE_HOST\n              value: \"10.0.0.1\"", "KUBERNETES_SERVICE_PORT\n              value: \"6443\""},
			[]string{"sluice-api-server"},
		},
		"chained plugin": {
			map[string]any{"cni": map[string]any{"plugins": []any{map[string]any{"type": "portmap"}}}},
			[]string{"{\"type\": \"sluice-cni\"},\n        {\"type\":\"portmap\"}\n"}, nil,
		},
		"image": {
			map[string]any{"image": map[string]any{"tag": "v1.2.3"}},
			[]string{"image: ghcr.io/sluice-cni/sluice:v1.2.3\n", "sluice-ovs:3.1.0-3\n"}, []string{"sluice:main"},
		},
		"Services left to kube-proxy": {
			map[string]any{"agent": map[string]any{"config": map[string]any{"services": "kube-proxy"}}},
			[]string{"    services: kube-proxy\n"}, []string{"resources: [services]", "endpointslices", "servicecidrs"},
		},
		"audit log": {
			map[string]any{"agent": map[string]any{"config": map[string]any{"auditLog": map[string]any{"path": "/var/log/sluice/verdicts.log"}}}},
			[]string{"            - name: audit\n              mountPath: /var/log/sluice\n", "path: /var/log/sluice\n            type: DirectoryOrCreate\n"}, nil,
		},
		"no audit log": {nil, []string{"name: ovs-run"}, []string{"name: audit"}},
		"no datapath": {
			map[string]any{"agent": map[string]any{"config": map[string]any{"datapath": nil}}}, []string{"NET_RAW"}, []string{"datapath: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := render(chartDir, "", c.values)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("lacks %q:\n%s", w, text)
				}
			}
			for _, n := range c.none {
				if strings.Contains(text, n) {
					t.Errorf("has %q", n)
				}
			}
		})
	}
}

func TestAModeThatIsNoneIsRefused(t *testing.T) {
	_, err := render(chartDir, "", map[string]any{"ovs": map[string]any{"mode": "vm"}})
	if err == nil || !strings.Contains(err.Error(), `ovs.mode: "vm" is not pod or host`) {
		t.Errorf("error %v", err)
	}
}
