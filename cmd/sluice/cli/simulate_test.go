package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/pkg/simulate"
)

func TestSimulateShowsTheTruthTable(t *testing.T) {
	needOVS(t)
	for file, args := range map[string]string{
		"simulate.txt":             "-f guarded-database",
		"simulate-wide.txt":        "-f guarded-database --to shop/db -o wide",
		"simulate-expect.txt":      "-f guarded-database -o expect",
		"simulate-outside.txt":     "-f external-access --from 203.0.113.7 --from 203.0.113.130 --from edge/* --port tcp/8443 --port udp/8443",
		"simulate-families.txt":    "-f external-access --to edge/gateway --to 198.51.100.10 --family both",
		"simulate-three-tiers.txt": "-f three-tiers --to data-tier/*",
	} {
		t.Run(file, func(t *testing.T) {
			r := run(t, strings.Fields("simulate "+strings.Replace(args, "-f ", "-f "+examples, 1))...)
			r.want(t, exitDone, "")
			golden(t, file, r.out)
		})
	}
}

func TestSimulateMeetsTheExpectationsOfEveryExample(t *testing.T) {
	needOVS(t)
	files, err := filepath.Glob(examples + "*/expected.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d examples: %v", len(files), err)
	}
	for _, file := range files {
		for _, family := range []string{"auto", "both"} {
			r := run(t, "simulate", "-f", filepath.Dir(file), "--expect", file, "--family", family, "--strict")
			r.want(t, exitDone, "")
			if !strings.HasSuffix(r.out, " expectations hold\n") || strings.Count(r.out, "\n") != 1 {
				t.Errorf("%s over %s: %s", file, family, r.out)
			}
		}
	}
}

func TestWhatSimulateExpectsOfAFolderHoldsThere(t *testing.T) {
	needOVS(t)
	r := run(t, "simulate", "-f", examples+"tenants", "-o", "expect")
	r.want(t, exitDone, "")
	file := write(t, t.TempDir(), "expected.txt", r.out)
	run(t, "simulate", "-f", examples+"tenants", "--expect", file).want(t, exitDone, "")
}

func TestSimulateSaysWhichExpectationsFail(t *testing.T) {
	needOVS(t)
	file := write(t, t.TempDir(), "expected.txt", `
shop/frontend shop/db TCP 5432 allow # no
shop/frontend shop/db TCP 9187 deny
shop/nobody shop/db TCP 5432 deny
`)
	r := run(t, "simulate", "-f", examples+"guarded-database", "--expect", file)
	r.want(t, exitDiffers, "")
	golden(t, "simulate-differs.txt", r.out)

	r = run(t, "simulate", "-f", examples+"guarded-database", "--expect", file, "-o", "json")
	r.want(t, exitDiffers, "")
	var outcomes []simulate.Outcome
	if err := json.Unmarshal([]byte(r.out), &outcomes); err != nil {
		t.Fatal(err)
	}
	if len(outcomes) != 3 || outcomes[0].Holds || !outcomes[1].Holds || outcomes[2].Holds || outcomes[2].Problem == "" {
		t.Errorf("outcomes are %+v", outcomes)
	}
}

func TestSimulateWritesData(t *testing.T) {
	needOVS(t)
	for format, unmarshal := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(data []byte, v any) error { return yaml.UnmarshalStrict(data, v) },
	} {
		r := run(t, "simulate", "-f", examples+"guarded-database", "-o", format)
		r.want(t, exitDone, "")
		var m simulate.Matrix
		if err := unmarshal([]byte(r.out), &m); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if len(m.Pods) != 5 || len(m.Cells) != 24 || m.Allowed+m.Denied != 24 || m.Denied != 6 {
			t.Errorf("%s: %d pods, %d cells, %d allowed, %d denied", format, len(m.Pods), len(m.Cells), m.Allowed, m.Denied)
		}
		ruled := 0
		for _, c := range m.Cells {
			if c.Ingress == nil {
				t.Errorf("%s: no ingress verdict for %s", format, c.Connection)
			} else if r := c.Ingress.AllowedBy; r != nil && r.Policy == "shop/db-guard" {
				ruled++
			}
		}
		if ruled != 2 {
			t.Errorf("%s: the guard's rule decides %d cells, want 2", format, ruled)
		}
	}
}

const someProblems = `
apiVersion: v1
kind: Pod
metadata: {namespace: a, name: one}
---
apiVersion: v1
kind: Pod
metadata: {namespace: a, name: two}
---
apiVersion: v1
kind: Pod
metadata: {namespace: a, name: host}
spec: {hostNetwork: true}
---
apiVersion: v1
kind: Pod
metadata: {namespace: a, name: done}
status: {phase: Failed}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: a, name: bad}
spec:
  podSelector: {}
  ingress:
  - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]
`

func TestProblemsAreNamedAndFailOnlyIfStrict(t *testing.T) {
	needOVS(t)
	dir := t.TempDir()
	write(t, dir, "all.yaml", someProblems)
	r := run(t, "simulate", "-f", dir)
	r.want(t, exitDone, "Problem: NetworkPolicy a/bad: spec.ingress[0].from[0].ipBlock.except[0]: ")
	for _, want := range []string{
		"Left out: pod a/host is on the host's network, where policies do not apply\n",
		"Left out: pod a/done has finished\n",
	} {
		if !strings.Contains(r.err, want) {
			t.Errorf("stderr lacks %q:\n%s", want, r.err)
		}
	}
	if !strings.Contains(r.out, "0 allowed, 2 denied") {
		t.Errorf("the pods stay isolated, but the table is\n%s", r.out)
	}
	run(t, "simulate", "-f", dir, "--strict").want(t, exitProblems, "Problem: ")
	run(t, "simulate", "-f", dir, "--from", "a/host").want(t, exitError, "from: pod a/host is on the host's network")
	run(t, "trace", "-f", dir, "a/one", "a/two", "80").want(t, exitDenied, "Problem: ")
	run(t, "get", "policies", "-f", dir).want(t, exitDone, "Problem: ")
}

func TestWatchShowsWhatChanges(t *testing.T) {
	needOVS(t)
	dir := t.TempDir()
	for _, file := range []string{"namespaces.yaml", "pods.yaml", "policies.yaml"} {
		data, err := os.ReadFile(examples + "guarded-database/" + file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, file, string(data))
	}
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	var out, errs buffer
	code := make(chan int, 1)
	go func() {
		code <- Run(ctx, []string{"sluice", "simulate", "-f", dir, "--watch", "--to", "shop/db", "--port", "5432"}, Streams{Out: &out, Err: &errs})
	}()
	await := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), want); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) || len(code) > 0 {
				t.Fatalf("no %q in\n%s%s", want, out.String(), errs.String())
			}
		}
	}
	await("2 allowed, 2 denied\n")
	write(t, dir, "policies.yaml", "")
	await("the folder has changed, and 2 of the verdicts\n")
	await("  shop/frontend  shop/db  tcp/5432  IPv4  denied  ->  allowed  no policy isolates egress; no policy isolates ingress\n")
	write(t, dir, "more.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {namespace: late, name: pod}\n")
	await("  late/pod  shop/db  tcp/5432  IPv4  -  ->  allowed  ")
	interrupt()
	if c := <-code; c != exitDone || errs.String() != "" {
		t.Errorf("exit code %d, stderr %q", c, errs.String())
	}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
