package client

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/simulate"
	"github.com/sluice-cni/sluice/test/need"
)

// serve serves HTTP on a unix socket and returns a client of it.
func serve(t *testing.T, h http.Handler) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	c := New(socket)
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), server.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestTheClientHearsWhatTheObserverSays(t *testing.T) {
	need.Tool(t, "ovs-vswitchd", sandboxtest.Install)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o := simulate.Options{Node: "node", PodCIDRs: simulate.DefaultPodCIDRs}
	bed, err := simulate.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	}()
	events, err := cluster.ReadFolder("../../../examples/guarded-database", cluster.FolderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := simulate.NewCluster(bed, o).Apply(ctx, events); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	bed.Register(mux)
	c := serve(t, mux)

	same(t, ctx, "ports", c.Ports, bed.Ports)
	same(t, ctx, "policies", c.Policies, bed.Policies)
	same(t, ctx, "rules", c.Rules, bed.Rules)
	same(t, ctx, "identities", c.Identities, bed.Identities)
	same(t, ctx, "flows", c.Flows, bed.Flows)
	same(t, ctx, "status", c.Status, bed.Status)
	for _, req := range []api.TraceRequest{
		{From: "shop/frontend", To: "shop/db", Protocol: "tcp", Port: 5432},
		{From: "shop/backend-1", To: "shop/db", Protocol: "tcp", Port: 5432, Family: 6},
	} {
		same(t, ctx, "trace", trace(c.Trace, req), trace(bed.Trace, req))
	}

	req := api.TraceRequest{From: "shop/nobody", To: "shop/db", Protocol: "tcp", Port: 1}
	_, want := bed.Trace(ctx, req)
	if _, got := c.Trace(ctx, req); got == nil || got.Error() != want.Error() {
		t.Errorf("the agent's refusal reads %v, want %v", got, want)
	}
}

// trace asks for a trace but for its megaflow, in which the recirculation id is
// another each time.
func trace(ask func(context.Context, api.TraceRequest) (*api.Explanation, error), req api.TraceRequest) func(context.Context) (*api.Explanation, error) {
	return func(ctx context.Context) (*api.Explanation, error) {
		x, err := ask(ctx, req)
		if err == nil {
			x.Megaflow = ""
		}
		return x, err
	}
}

func same[T any](t *testing.T, ctx context.Context, what string, asked, told func(context.Context) (T, error)) {
	t.Helper()
	want, err := told(ctx)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	got, err := asked(ctx)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

func TestNoAgentIsToldFromOtherErrors(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "s")
	_, err := New(absent).Ports(t.Context())
	if !errors.Is(err, ErrNoAgent) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), absent) {
		t.Errorf("absent socket: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	slow := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	if _, err := slow.Status(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoAgent) {
		t.Errorf("slow agent: %v", err)
	}
}

func TestAnswersThatAreNoAgentsAreNamed(t *testing.T) {
	for text, h := range map[string]http.Handler{
		"status 404 Not Found; is it a Sluice agent": http.NotFoundHandler(),
		"is not understood":                          http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }),
	} {
		if _, err := serve(t, h).Flows(t.Context()); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
}

// endless is a line that has no end.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	if e.read > 100*maxLine {
		return 0, io.ErrUnexpectedEOF
	}
	return len(p), nil
}

// Whoever has got hold of a node may say whatever he wants in its agent's place.
func TestALineOfAnAgentHasBounds(t *testing.T) {
	for name, begin := range map[string]string{"blank": "", "a reason": `{"ended":"`} {
		e := &endless{}
		err := ReadLive(t.Context(), io.MultiReader(strings.NewReader("{}\n"+begin), e), func(*api.LiveLine) error { return nil })
		if !errors.Is(err, ErrEnded) || e.read > 2*maxLine {
			t.Errorf("%s: %v after %d bytes", name, err, e.read)
		}
	}
}
