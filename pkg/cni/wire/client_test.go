package wire

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
)

// serve answers at a new socket until the test is over.
func serve(t *testing.T, h http.HandlerFunc) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return socket
}

func TestCallCarriesRequestAndResult(t *testing.T) {
	socket := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var req Request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		if r.Method != http.MethodPost || r.URL.Path != "/cni/add" || req.IfName != "eth0" || string(req.Config) != `{"name":"n"}` {
			t.Errorf("got %s %s with %+v", r.Method, r.URL, req)
		}
		w.Write([]byte(`{"result":{"cniVersion":"1.1.0"}}`))
	})
	result, err := Call(t.Context(), socket, Add, Request{IfName: "eth0", Config: json.RawMessage(`{"name":"n"}`)})
	if err != nil || string(result) != `{"cniVersion":"1.1.0"}` {
		t.Errorf("got %s, %v", result, err)
	}
}

func TestCallReturnsTheAgentsError(t *testing.T) {
	socket := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		w.Write([]byte(`{"error":{"code":11,"msg":"m","details":"d"}}`))
	})
	_, err := Call(t.Context(), socket, Del, Request{Config: json.RawMessage(`{}`)})
	var e *types.Error
	if !errors.As(err, &e) || *e != (types.Error{Code: 11, Msg: "m", Details: "d"}) {
		t.Errorf("got %#v", err)
	}
}

func TestOnlyASocketNobodyListensAtIsUnreachable(t *testing.T) {
	stale := filepath.Join(t.TempDir(), "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	call := func(socket string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := Call(ctx, socket, Del, Request{Config: json.RawMessage(`{}`)})
		return err
	}
	for name, socket := range map[string]string{"absent": filepath.Join(t.TempDir(), "none"), "stale": stale} {
		if err := call(socket); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s socket: %v", name, err)
		}
	}
	silent := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if err := call(silent); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnreachable) {
		t.Errorf("silent agent: %v", err)
	}
	foreign := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) })
	if err := call(foreign); err == nil || errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no Sluice agent") {
		t.Errorf("foreign server: %v", err)
	}
}
