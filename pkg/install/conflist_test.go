package install

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// list writes a list that leads to a socket, and reads it.
func list(t *testing.T, socket string) *ConfList {
	t.Helper()
	path := write(t, filepath.Join(t.TempDir(), "10-sluice.conflist"), fmt.Sprintf(
		`{"cniVersion":"1.0.0","name":"sluice","plugins":[{"type":"sluice-cni","socket":%q}]}`, socket))
	c, err := ReadConfList(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// agent answers STATUS at a socket, with an error for the first so many times.
func agent(t *testing.T, socket string, failures int64, asked func(n int64)) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.Status.Path(), func(w http.ResponseWriter, r *http.Request) {
		var req wire.Request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		if conf, err := wire.ParseConfig(req.Config); err != nil || conf.Name != "sluice" || conf.CNIVersion != "1.0.0" {
			t.Errorf("asked with configuration %s: %v", req.Config, err)
		}
		i := n.Add(1)
		asked(i)
		if i <= failures {
			w.WriteHeader(http.StatusInternalServerError)
			_ = json.NewEncoder(w).Encode(wire.Response{Error: types.NewError(types.ErrPluginNotAvailable, "not yet", "")})
			return
		}
		_ = json.NewEncoder(w).Encode(wire.Response{})
	})
	s := &http.Server{Handler: mux}
	t.Cleanup(func() { s.Close() })
	go func() { _ = s.Serve(l) }()
}

func TestTheListAppearsOnceTheAgentIsReady(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dir, socket := t.TempDir(), filepath.Join(t.TempDir(), "agent.sock")
	c := list(t, socket)
	path := filepath.Join(dir, "10-sluice.conflist")
	agent(t, socket, 2, func(int64) {
		if _, err := os.Stat(path); err == nil {
			t.Error("the list is there before the agent is ready")
		}
	})
	if err := c.Publish(ctx, dir); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != string(c.data) {
		t.Errorf("published %s", got)
	}
	only(t, dir, "10-sluice.conflist")
}

func TestWithoutAnAgentThereIsNoList(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*askInterval)
	defer cancel()
	dir := t.TempDir()
	if err := list(t, filepath.Join(t.TempDir(), "agent.sock")).Publish(ctx, dir); err != nil {
		t.Error(err)
	}
	only(t, dir, "")
}

func TestAListFromBeforeIsReplacedAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "10-sluice.conflist"), "{}")
	c := list(t, filepath.Join(t.TempDir(), "agent.sock")) // no agent is there
	if err := c.Publish(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != string(c.data) {
		t.Errorf("published %s", got)
	}
}

func TestAListThatCantWorkIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":         {`{"name":`, "unexpected end"},
		"another plugin":  {`{"cniVersion":"1.0.0","name":"sluice","plugins":[{"type":"bridge"}]}`, "none is of type sluice-cni"},
		"no name":         {`{"cniVersion":"1.0.0","plugins":[{"type":"sluice-cni"}]}`, "name"},
		"relative socket": {`{"cniVersion":"1.0.0","name":"sluice","plugins":[{"type":"sluice-cni","socket":"s"}]}`, "socket"},
		"unknown version": {`{"cniVersion":"9.0.0","name":"sluice","plugins":[{"type":"sluice-cni"}]}`, "9.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "x.conflist"), c.text)
			if _, err := ReadConfList(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one about %s", err, c.want)
			}
		})
	}
}
