package cli

import (
	"bytes"
	"context"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/flows"
	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/ui"
	"github.com/sluice-cni/sluice/pkg/simulate"
	"github.com/sluice-cni/sluice/test/need"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

const examples = "../../../examples/"

// result is what a run of the program came to.
type result struct {
	code     int
	out, err string
}

// run runs the program as from a shell whose output is no terminal.
func run(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, err buffer
	code := Run(ctx, append([]string{"sluice"}, args...), Streams{Out: &out, Err: &err})
	return result{code, out.String(), err.String()}
}

// buffer is a bytes.Buffer that may be read while it is written to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// want checks a run's exit code, and that nothing was said on standard error but
// what is expected.
func (r result) want(t *testing.T, code int, stderr string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; stdout:\n%sstderr:\n%s", r.code, code, r.out, r.err)
	}
	if stderr == "" && r.err != "" || !strings.Contains(r.err, stderr) {
		t.Errorf("stderr is %q, want %q", r.err, stderr)
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

// agent serves a simulated node with an example's pods and policies on a unix
// socket, the way the agent does, and returns the socket's path.
func agent(t *testing.T, example string) string {
	t.Helper()
	socket, _ := watchedAgent(t, example, flows.Watch{})
	return socket
}

// watchedAgent is an agent whose node tells of verdicts.
func watchedAgent(t *testing.T, example string, watch flows.Watch) (string, *simulate.Bed) {
	t.Helper()
	needOVS(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o := simulate.Options{
		Node: "node-a", PodCIDRs: simulate.DefaultPodCIDRs, Watch: watch,
		OnProblem: func(err error) { t.Error(err) },
	}
	bed, err := simulate.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	events, err := cluster.ReadFolder(examples+example, cluster.FolderOptions{Node: "node-a"})
	if err == nil {
		err = simulate.NewCluster(bed, o).Apply(ctx, events)
	}
	mux := http.NewServeMux()
	bed.Register(mux)
	ui.Register(mux)
	if bed.Verdicts != nil {
		bed.Verdicts.Register(mux)
	}
	server := &http.Server{Handler: mux}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: with the test's name in it a path may be too long a socket.
	dir, err := os.MkdirTemp("/tmp", "sluice-cli-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "agent.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	return socket, bed
}

func needOVS(t *testing.T) {
	t.Helper()
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	need.Tool(t, "ovsdb-server", sandboxtest.Install)
}
