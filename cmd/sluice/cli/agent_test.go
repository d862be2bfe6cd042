package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

func TestAnswersOfAnAgent(t *testing.T) {
	socket := agent(t, "guarded-database")
	for _, tc := range []struct {
		file string
		args string
		code int
	}{
		{"trace-allowed.txt", "trace shop/backend-1 shop/db tcp/5432", exitDone},
		{"trace-denied.txt", "trace shop/frontend shop/db tcp/5432", exitDenied},
		{"trace-ipv6.txt", "trace shop/frontend shop/db --protocol tcp --port 5432 --family 6", exitDenied},
		{"trace-icmp.txt", "trace shop/backend-1 shop/frontend icmp", exitDone},
		{"trace-outside.txt", "trace shop/frontend 203.0.113.7 udp/53", exitDone},
		{"trace-from-outside.txt", "trace 203.0.113.7 shop/db 5432", exitDenied},
		{"get-ports.txt", "get ports", exitDone},
		{"get-ports-wide.txt", "get ports -o wide", exitDone},
		{"get-ports-pod.txt", "get ports --pod db -n shop", exitDone},
		{"get-policies.txt", "get policies", exitDone},
		{"get-policies-wide.txt", "get policies -o wide", exitDone},
		{"get-rules.txt", "get rules", exitDone},
		{"get-rules-wide.txt", "get rules -n shop db-guard -o wide", exitDone},
		{"get-identities.txt", "get identities", exitDone},
	} {
		t.Run(tc.file, func(t *testing.T) {
			r := run(t, append(strings.Fields(tc.args), "--socket", socket)...)
			r.want(t, tc.code, "")
			golden(t, tc.file, r.out)
		})
	}
	t.Run("the socket of the environment", func(t *testing.T) {
		t.Setenv(socketVariable, socket)
		run(t, "get", "ports").want(t, exitDone, "")
	})
	t.Run("wide shows flows and what the datapath matches", func(t *testing.T) {
		r := run(t, "trace", "shop/backend-1", "shop/db", "5432", "-o", "wide", "--socket", socket)
		r.want(t, exitDone, "")
		for _, want := range []string{"conj_id=", "ct(commit", "megaflow  ", "PRIORITY", "output    sl"} {
			if !strings.Contains(r.out, want) {
				t.Errorf("no %q in\n%s", want, r.out)
			}
		}
	})
	t.Run("data", func(t *testing.T) { testData(t, socket) })
	t.Run("filters", func(t *testing.T) { testFilters(t, socket) })
	t.Run("questions without an answer", func(t *testing.T) { testRefusals(t, socket) })
	t.Run("completion", func(t *testing.T) {
		r := run(t, "__complete", "trace", "--socket", socket, "shop/")
		if !strings.HasPrefix(r.out, "shop/backend-1\nshop/backend-2\nshop/db\nshop/frontend\n") {
			t.Errorf("completes to %q", r.out)
		}
	})
}

// testData reads json and yaml back.
func testData(t *testing.T, socket string) {
	for _, format := range []string{"json", "yaml"} {
		unmarshal := json.Unmarshal
		if format == "yaml" {
			unmarshal = func(data []byte, v any) error { return yaml.UnmarshalStrict(data, v) }
		}
		ask := func(into any, code int, args ...string) {
			t.Helper()
			r := run(t, append(args, "-o", format, "--socket", socket)...)
			r.want(t, code, "")
			if err := unmarshal([]byte(r.out), into); err != nil {
				t.Errorf("%s: %v\n%s", format, err, r.out)
			}
		}
		var x api.Explanation
		ask(&x, exitDenied, "trace", "shop/frontend", "shop/db", "5432")
		if x.Verdict != api.Denied || x.Ingress == nil || fmt.Sprint(x.Ingress.IsolatedBy) != "[shop/db-guard]" || len(x.Steps) == 0 {
			t.Errorf("%s: the explanation reads %+v", format, x)
		}
		var ports []api.Port
		ask(&ports, exitDone, "get", "ports")
		var policies []api.Policy
		ask(&policies, exitDone, "get", "policies")
		var rules []api.Rule
		ask(&rules, exitDone, "get", "rules")
		var identities []api.Identity
		ask(&identities, exitDone, "get", "identities")
		var flows []api.Flow
		ask(&flows, exitDone, "get", "flows")
		if len(ports) != 5 || len(policies) != 1 || len(rules) != 1 || len(identities) == 0 || len(flows) < 50 {
			t.Errorf("%s: %d ports, %d policies, %d rules, %d identities, %d flows", format,
				len(ports), len(policies), len(rules), len(identities), len(flows))
		}
		var status api.Status
		ask(&status, exitDone, "get", "status")
		if status.Node != "node-a" || !status.Ready || status.Flows == 0 {
			t.Errorf("%s: status %+v", format, status)
		}
		none := []api.Port{{}}
		ask(&none, exitDone, "get", "ports", "-n", "nowhere")
		if none == nil || len(none) != 0 {
			t.Errorf("%s: an empty list reads %v", format, none)
		}
		var b build
		ask(&b, exitDone, "version")
		if b.Version == "" || b.Go == "" {
			t.Errorf("%s: version %+v", format, b)
		}
	}
}

// testFilters counts what filters let through.
func testFilters(t *testing.T, socket string) {
	for _, tc := range []struct {
		args string
		want int // lines with the header; zero is a list of nothing
	}{
		{"ports -n shop", 5},
		{"ports shop/db", 2},
		{"ports db -n shop", 2},
		{"ports -n nowhere", 0},
		{"port --pod warehouse/api", 2},
		{"ports --pod warehouse/api -n shop", 0},
		{"policies --pod shop/db", 2},
		{"policies --pod shop/frontend", 0},
		{"policies -n warehouse", 0},
		{"rules --pod shop/db", 2},
		{"rules --pod shop/frontend", 0},
		{"rules shop/db-guard", 2},
		{"identities --pod shop/backend-2", 2},
		{"identities -n warehouse", 0},
		{"flows IngressPeer -n nowhere", 0},
		{"flows ingressdefault --pod shop/db", 2},
		{"flows ingressdefault --pod shop/frontend", 0},
		{"status", 6},
	} {
		r := run(t, append(strings.Fields("get "+tc.args), "--socket", socket)...)
		if lines := strings.Count(r.out, "\n"); r.code != exitDone && tc.want > 0 || lines != tc.want {
			t.Errorf("get %s: exit code %d, %d lines, want %d:\n%s%s", tc.args, r.code, lines, tc.want, r.out, r.err)
		}
	}
}

func testRefusals(t *testing.T, socket string) {
	for _, tc := range []struct{ args, want string }{
		{"trace shop/nobody shop/db 5432", "from: no pod shop/nobody with an address is known"},
		{"trace shop/frontend 2001:db8::1 80 --family 4", "IPv4 in common"},
		{"get ports nothing", `port "nothing" not found`},
		{"get policies nothing -n shop", `policy "nothing" not found in namespace shop`},
	} {
		r := run(t, append(strings.Fields(tc.args), "--socket", socket)...)
		r.want(t, exitError, tc.want)
	}
}
