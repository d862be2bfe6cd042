package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/test/need"
)

// soon bounds what a test waits for; a whole run takes two seconds on an idle
// machine.
const soon = 2 * time.Minute

// bin is the folder of the binaries, built once.
var bin string

func TestMain(m *testing.M) {
	code := func() int {
		var err error
		if bin, err = os.MkdirTemp("", "sluice-demo-test-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(bin)
		return m.Run()
	}()
	os.Exit(code)
}

var build = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", bin, "../../cmd/sluice", "../../cmd/sluice-agent", "../../cmd/sluice-cni", ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
})

// running is a demo that runs.
type running struct {
	*exec.Cmd
	t           *testing.T
	out, errOut bytes.Buffer
	mark        string // in the environment of its processes
}

// start starts the demo of an example in the folder examples.
func start(t *testing.T, folder string, change ...func(*exec.Cmd)) *running {
	t.Helper()
	need.Root(t)
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	if err := build(); err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, mark: fmt.Sprintf("SLUICE_DEMO_TEST=%d-%s", os.Getpid(), t.Name())}
	r.Cmd = exec.Command(filepath.Join(bin, "demo"), "--only", "guarded-database", "--examples", folder)
	r.Stdout, r.Stderr = &r.out, &r.errOut
	r.Env = append(os.Environ(), r.mark)
	for _, f := range change {
		f(r.Cmd)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.ProcessState == nil {
			_ = r.Process.Kill()
			_ = r.Wait()
		}
	})
	return r
}

// end waits for the demo to end and returns its exit code.
func (r *running) end() int {
	r.t.Helper()
	timer := time.AfterFunc(soon, func() { _ = r.Process.Kill() })
	defer timer.Stop()
	if err := r.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		r.t.Fatal(err)
	}
	return r.ProcessState.ExitCode()
}

// left lists what there is of the demo: namespaces, folders, processes.
func (r *running) left() []string {
	r.t.Helper()
	left, err := leftovers(func(pid int) bool { return pid == r.Process.Pid })
	if err != nil {
		r.t.Fatal(err)
	}
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, path := range environs {
		// The process may have ended.
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(r.mark+"\x00")) {
			left = append(left, "process "+strings.Split(path, "/")[2])
		}
	}
	return left
}

func (r *running) expectNothingLeft() {
	r.t.Helper()
	if left := r.left(); len(left) > 0 {
		r.t.Errorf("left: %v\nstderr:\n%s", left, r.errOut.String())
	}
}

// waitFor waits until the demo has made something.
func (r *running) waitFor(pattern string) {
	r.t.Helper()
	pattern = fmt.Sprintf(pattern, r.Process.Pid)
	r.poll(pattern, func() bool {
		found, err := filepath.Glob(pattern)
		if err != nil {
			r.t.Fatal(err)
		}
		return len(found) > 0
	})
}

func (r *running) poll(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(soon); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited %v for %s; there is %v", soon, what, r.left())
		}
	}
}

func TestDemoShowsWhatIsExpectedAndLeavesNothing(t *testing.T) {
	r := start(t, "..")
	if code := r.end(); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, r.out.String(), r.errOut.String())
	}
	for _, want := range []string{
		"shop/frontend   allow           allow           deny      deny      -         -              -\n",
		"$ sluice trace shop/backend-1 shop/db tcp/5432\n",
		"allowed by rule 0 of NetworkPolicy shop/db-guard",
		"$ sluice trace shop/frontend shop/db tcp/5432\n",
		"DENIED: ingress of pod shop/db is isolated by NetworkPolicy shop/db-guard",
		"\nguarded-database: 13 connections, 26 probes over IPv4 and IPv6, all as expected, ",
	} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, r.out.String())
		}
	}
	r.expectNothingLeft()
}

// Pods of every example reach, with real packets, what its policies allow, and
// nothing else: no way goes around the bridge.
func TestEveryExampleIsEnforced(t *testing.T) {
	r := start(t, "..", func(c *exec.Cmd) {
		c.Args = slices.DeleteFunc(c.Args, func(a string) bool { return a == "--only" || a == "guarded-database" })
	})
	if code := r.end(); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, r.out.String(), r.errOut.String())
	}
	r.expectNothingLeft()
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	for _, tc := range []struct {
		when, pattern string
		signal        syscall.Signal
	}{
		{"its first namespace is there", "/run/netns/sl%d-*-node", syscall.SIGTERM},
		{"Open vSwitch starts", "/tmp/sluice-bed-sl%d-*/ovs/conf.db", syscall.SIGINT},
		{"the agent listens", "/tmp/sluice-bed-sl%d-*/agent.sock", syscall.SIGTERM},
		{"pods are attached", "/run/netns/sl%d-*-shop-*", syscall.SIGINT},
		{"all pods are attached", "/tmp/sluice-bed-sl%d-*/cni/results/*-shop-backend-2-eth0", syscall.SIGHUP},
	} {
		t.Run(tc.when, func(t *testing.T) {
			r := start(t, "..")
			r.waitFor(tc.pattern)
			// A second one must not interrupt the cleaning up.
			for range 2 {
				if err := r.Process.Signal(tc.signal); err != nil {
					t.Fatal(err)
				}
			}
			if code := r.end(); code != exitInterrupted {
				t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, r.errOut.String())
			}
			r.expectNothingLeft()
		})
	}
}

func TestDemoWhoseReaderGoesAwayLeavesNothing(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r := start(t, "..", func(cmd *exec.Cmd) { cmd.Stdout = out })
	out.Close()
	r.waitFor("/run/netns/sl%d-*-shop-*")
	in.Close()
	if code := r.end(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, r.errOut.String())
	}
	r.expectNothingLeft()
}

func TestNextDemoTakesAwayWhatAKilledOneLeft(t *testing.T) {
	r := start(t, "..")
	r.waitFor("/run/netns/sl%d-*-shop-*")
	if err := r.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = r.end()
	if len(r.left()) == 0 {
		t.Fatal("a killed demo leaves nothing: this test sees nothing")
	}
	// One that runs at the same time is left alone.
	other := start(t, "..")
	if code := other.end(); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, other.out.String(), other.errOut.String())
	}
	if !strings.Contains(other.errOut.String(), "removing /run/netns/sl"+strconv.Itoa(r.Process.Pid)) {
		t.Errorf("it does not say what it removes:\n%s", other.errOut.String())
	}
	r.poll("everything to be gone", func() bool { return len(r.left()) == 0 })
}

func TestMismatchIsShownAndMakesTheDemoFail(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "guarded-database"), os.DirFS("../guarded-database")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "guarded-database", "expected.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const line = "shop/frontend   shop/backend-1  TCP       8080  "
	if text = bytes.Replace(text, []byte(line+"allow"), []byte(line+"deny"), 1); !bytes.Contains(text, []byte(line+"deny")) {
		t.Fatalf("no line to change in:\n%s", text)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, folder)
	if code := r.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, want := range []string{
		"shop/frontend   deny!allow ",
		"MISMATCH shop/frontend -> shop/backend-1 tcp/8080 over IPv6: expected deny, seen: allow\n",
		"MISMATCH trace says allow, expected: shop/frontend -> shop/backend-1 TCP/8080 deny\n",
		" 3 MISMATCHES, ",
	} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, r.out.String())
		}
	}
	r.expectNothingLeft()
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--only", "nothing"}, `--only: there is no example "nothing", there are guarded-database`},
		{[]string{"guarded-database"}, `unexpected argument "guarded-database"`},
		{[]string{"--datapath", "dummy"}, `--datapath: "dummy" is not netdev, system or auto`},
	} {
		err := run(t.Context(), tc.args, &bytes.Buffer{}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: got error %v, want %s", tc.args, err, tc.want)
		}
	}
}

func TestOnlyNamesOfBedsAreTaken(t *testing.T) {
	for name, want := range map[string]string{
		"sl17-1-node": "17", "sl17-2-shop-db": "17", "sluice-bed-sl17-1-3321": "17",
		"slirp": "", "sl-17-1": "", "sl0-1-node": "", "sluice-bed-12": "", "sluice-ovs-sl17-1": "", "xsl17-1-node": "",
	} {
		got := ""
		if m := owned.FindStringSubmatch(name); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s: owner %q, want %q", name, got, want)
		}
	}
}
