package cni

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

func TestHandlerRefusesWhatIsNoRequest(t *testing.T) {
	mux := http.NewServeMux()
	NewServer(Options{}).Register(mux)
	for _, c := range []struct {
		body string
		code uint
	}{
		{"", types.ErrDecodingFailure},
		{"hello", types.ErrDecodingFailure},
		{`{"containerID":7}`, types.ErrDecodingFailure},
		{`{"netns":"` + strings.Repeat("n", wire.MaxBody) + `"}`, types.ErrIOFailure},
		{`{}`, types.ErrDecodingFailure}, // no configuration
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, wire.Add.Path(), strings.NewReader(c.body)))
		var resp wire.Response
		if err := json.Unmarshal(w.Body.Bytes(), &resp); err != nil || w.Code < 400 || resp.Error == nil || resp.Error.Code != c.code {
			t.Errorf("%.40q: status %d, %s, want code %d", c.body, w.Code, w.Body, c.code)
		}
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, wire.Del.Path(), nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET of a command: status %d", w.Code)
	}
}

func TestListenIsForRootAloneAndReplacesWhatIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "agent.sock")
	for range 2 {
		l, err := Listen(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("the socket has mode %v (%v)", info.Mode(), err)
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		l.Close() // as when an agent dies, the file stays
	}
}
