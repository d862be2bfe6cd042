package cli

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWrongUsageIsNamedAndExitsWithTwo(t *testing.T) {
	for args, want := range map[string]string{
		"trace":                                          "accepts between 2 and 3 arg(s)",
		"trace a shop/db 80":                             `FROM: "a" is neither NAMESPACE/POD nor an address`,
		"trace shop/a shop/b/c 80":                       `TO: "shop/b/c" is neither`,
		"trace shop/a svc:web":                           `TO: "svc:web" is not svc:NAMESPACE/NAME:PORT`,
		"trace shop/a svc:shop/web:":                     `TO: "svc:shop/web:" is not svc:NAMESPACE/NAME:PORT`,
		"trace svc:shop/web:80 shop/a 80":                `FROM: "svc:shop`,
		"trace shop/a shop/b 80 --agent n=":              `--agent: "n=" is not NODE=SOCKET`,
		"trace shop/a shop/b 80 -f . --node n":           "-f simulates one node",
		"trace shop/a shop/b 80 --agent n=s --context c": "--agent does not go with --kubeconfig and --context",
		"trace --live shop/a shop/b --agent n=":          `--agent: "n=" is not NODE=SOCKET`,
		"trace --live shop/a svc:web":                    `TO: "svc:web" is not svc:NAMESPACE/NAME:PORT`,
		"trace --live svc:shop/web:80 shop/a":            `FROM: "svc:shop`,
		"answer x":                                       `invalid argument "x"`,
		"trace shop/a shop/b":                            "what is to be traced?",
		"trace shop/a shop/b tcp":                        `"" is not a port from 1 to 65535`,
		"trace shop/a shop/b tcp/70000":                  `"70000" is not a port`,
		"trace shop/a shop/b gre/1":                      "want PROTOCOL/PORT with tcp, udp or sctp, or icmp",
		"trace shop/a shop/b icmp/1":                     "icmp has no ports",
		"trace shop/a shop/b 80 --port 81":               "stands both as an argument and as",
		"trace shop/a shop/b 80 --family 5":              "--family: 5 is not 4 or 6",
		"trace shop/a shop/b 80 -o xml":                  "want table, wide, json or yaml",
		"trace shop/a shop/b 80 --bogus":                 "unknown flag: --bogus",
		"get":                                            "what is to be listed?",
		"get bogus":                                      "unknown command",
		"get ports a b":                                  "accepts at most 1 arg(s)",
		"get ports --pod db":                             `--pod: "db" has no namespace`,
		"simulate":                                       "which manifests? Give a folder with -f",
		"simulate -f . --port x":                         `--port: "x"`,
		"simulate -f . --from a":                         `--from: "a" is neither`,
		"simulate -f . --from a/[":                       "syntax error in pattern",
		"simulate -f . --family 5":                       `--family: "5" is not 4, 6, both or auto`,
		"simulate -f . --expect x --port tcp/80":         "--expect says itself which connections to try",
		"check x":                                        "unknown command",
		"check --only flows,bogus":                       `--only: there is no check "bogus"`,
		"check --max 5":                                  "--max goes with --policies only",
		"check --policies --skip flows":                  "--skip does not go with --policies",
		"check --policies --max 0":                       "--max: 0 is not in 1-200000",
		"check --policies --time 2h":                     "--time: 2h0m0s is not in 1s-1h",
		"support-bundle x":                               "unknown command",
		"bogus":                                          `unknown command "bogus"`,
		"version x":                                      "unknown command",
	} {
		r := run(t, strings.Fields(args)...)
		r.want(t, exitUsage, want)
		if !strings.HasPrefix(r.err, "Error: ") || !strings.Contains(r.err, "--help'.\n") || r.out != "" {
			t.Errorf("%s: stdout %q, stderr %q", args, r.out, r.err)
		}
	}
}

func TestAnAbsentAgentIsSaidToBeSo(t *testing.T) {
	dir := t.TempDir()
	absent := filepath.Join(dir, "agent.sock")
	r := run(t, "get", "ports", "--socket", absent)
	r.want(t, exitError, "no agent at "+absent+": there is no such socket")
	for _, want := range []string{"--socket or SLUICE_SOCKET", "sluice simulate -f DIR"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("no advice about %q in %q", want, r.err)
		}
	}

	stale := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "trace", "a/b", "c/d", "80", "--socket", stale).want(t, exitError, "no agent at "+stale+": nobody listens")

	refused := advise(fmt.Errorf("dial: %w", syscall.EACCES), stale)
	if text := refused.Error(); !strings.Contains(text, "permission denied") || !strings.Contains(text, "sudo") {
		t.Errorf("permission denied is told as %q", text)
	}
}

func TestAnAbsentAgentIsACheckThatHasFailed(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "agent.sock")
	r := run(t, "check", "--socket", absent)
	r.want(t, exitError, "")
	for _, want := range []string{"fail  agent  no agent at " + absent + ": there is no such socket", "→ sluice asks the sluice-agent", "1 of 1 checks have failed"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	run(t, "check", "--policies", "--socket", absent).want(t, exitError, "no agent at "+absent)
}

func TestNamesOfChecksAreCompleted(t *testing.T) {
	if r := run(t, "__complete", "check", "--only", "flows,"); !strings.HasPrefix(r.out, "flows,agent\nflows,version\nflows,ovsdb\n") || strings.Contains(r.out, "flows,flows") {
		t.Errorf("completes to %q", r.out)
	}
}

func TestAnAgentThatDoesNotAnswerIsGivenUpOn(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket) // its backlog takes connections, nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := run(t, "get", "status", "--socket", socket, "--timeout", "50ms")
	r.want(t, exitError, "not done within 50ms (--timeout)")
}

func TestASimulationIsGivenUpOn(t *testing.T) {
	needOVS(t)
	r := run(t, "simulate", "-f", examples+"tenants", "--timeout", "1ms")
	r.want(t, exitError, "not done within 1ms (--timeout)")
}

func TestAnInterruptEndsTheProgram(t *testing.T) {
	needOVS(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs buffer
	code := Run(ctx, []string{"sluice", "simulate", "-f", examples + "tenants"}, Streams{Out: &out, Err: &errs})
	if code != exitInterrupt || errs.String() != "Interrupted.\n" || out.String() != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out.String(), errs.String())
	}
}

func TestMissingInputIsAnError(t *testing.T) {
	needOVS(t)
	run(t, "simulate", "-f", "/nowhere").want(t, exitError, "/nowhere: no such file or directory")
	run(t, "simulate", "-f", "/nowhere", "--watch").want(t, exitError, "/nowhere: no such file or directory")
	run(t, "simulate", "-f", ".", "--expect", "/nowhere").want(t, exitError, "read expectations: open /nowhere")
	bad := write(t, t.TempDir(), "e", "a/b c/d TCP 80 maybe\n")
	run(t, "simulate", "-f", ".", "--expect", bad).want(t, exitError, bad+`: line 1: verdict: "maybe" is not allow or deny`)
	run(t, "simulate", "-f", examples+"tenants", "--to", "red-*/nobody").want(t, exitError, "to: there is no pod red-*/nobody")
}

func TestHelpHasExamplesAndNamesThePlugin(t *testing.T) {
	for _, cmd := range []string{"trace", "simulate", "ui", "check", "support-bundle"} {
		r := run(t, cmd, "--help")
		r.want(t, exitDone, "")
		if !strings.Contains(r.out, "Examples:\n") {
			t.Errorf("%s has no examples", cmd)
		}
	}
	var out, errs buffer
	Run(t.Context(), []string{"/usr/bin/kubectl-sluice", "trace", "--help"}, Streams{Out: &out, Err: &errs})
	if !strings.Contains(out.String(), "kubectl sluice trace FROM TO") {
		t.Errorf("as a plugin its usage is\n%s", out.String())
	}
}

func TestNothingIsColouredUnlessOnATerminal(t *testing.T) {
	needOVS(t)
	for _, args := range [][]string{
		{"simulate", "-f", examples + "guarded-database"},
		{"simulate", "-f", examples + "guarded-database", "-o", "wide"},
		{"trace", "-f", examples + "guarded-database", "shop/frontend", "shop/db", "5432"},
		{"get", "ports", "-f", examples + "guarded-database"},
	} {
		if r := run(t, args...); strings.Contains(r.out+r.err, "\x1b") || strings.ContainsAny(r.out, "✓✗") || r.out == "" {
			t.Errorf("%v: %q", args, r.out+r.err)
		}
	}
}
