package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// An agent may be on a node that is in somebody else's hands, and is asked from an
// administrator's terminal.
func TestWhatAnAgentSaysDoesNotSteerTheTerminal(t *testing.T) {
	const hostile = "reason\x1b]0;title\x07\x1b[2J\u009b2J\x7f\rover"
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/trace/live/plan", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.LivePlan{Node: "a" + hostile})
	})
	mux.HandleFunc("POST /v1/trace/live", func(w http.ResponseWriter, _ *http.Request) {
		out := json.NewEncoder(w)
		_ = out.Encode(api.LiveLine{Count: &api.LiveCount{}})
		_ = out.Encode(api.LiveLine{Packet: &api.LivePacket{Node: hostile, Verdict: api.Denied, Reason: hostile, Protocol: hostile}})
	})
	mux.HandleFunc("GET /v1/watch", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.WatchLine{Event: &api.Event{Time: time.Now(), Verdict: api.Denied, Reason: hostile}})
	})
	mux.HandleFunc("GET /v1/ports", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(api.Error{Message: hostile})
	})
	socket := pretend(t, mux)
	for _, args := range []string{"trace --live - 10.0.0.1 --timeout 5s", "watch --last 1 --follow=false", "get ports"} {
		r := run(t, append(strings.Fields(args), "--socket", socket)...)
		if !strings.Contains(r.out+r.err, "reason") {
			t.Errorf("%s: says nothing of it: %q, %q", args, r.out, r.err)
		}
		for _, c := range r.out + r.err {
			if unicode.IsControl(c) && c != '\n' {
				t.Errorf("%s: writes %q: %q, %q", args, c, r.out, r.err)
				break
			}
		}
	}
}

// pretend serves what an agent would answer, and returns its socket.
func pretend(t *testing.T, answers http.Handler) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: answers}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return socket
}
