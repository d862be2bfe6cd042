package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// The clock may be set back while a reader waits for the next agent, as it is where
// it was wrong when the node started.
func TestWatchGoesOnAfterTheClockWasSetBack(t *testing.T) {
	const ahead = time.Hour
	readers := make(chan int, 1)
	readers <- 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/watch", func(w http.ResponseWriter, r *http.Request) {
		n := <-readers
		readers <- n + 1
		tell := func(seq uint64, at time.Time) {
			_ = json.NewEncoder(w).Encode(api.WatchLine{Event: &api.Event{Seq: seq, Time: at}})
			_ = http.NewResponseController(w).Flush()
		}
		if n == 0 { // while the clock is wrong, and then the agent ends
			tell(7, time.Now().Add(ahead))
			return
		}
		tell(1, time.Now())
		<-r.Context().Done()
	})
	socket := pretend(t, mux)

	var out, stderr buffer
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		code <- Run(ctx, []string{"sluice", "watch", "--socket", socket, "-o", "json"}, Streams{Out: &out, Err: &stderr})
	}()
	var seqs []uint64
	shown := func() []uint64 {
		seqs = nil
		for in := json.NewDecoder(strings.NewReader(out.String())); ; {
			var e api.Event
			if in.Decode(&e) != nil {
				return seqs
			}
			seqs = append(seqs, e.Seq)
		}
	}
	until(t, "an event of the next agent is shown", func() bool { return slices.Equal(shown(), []uint64{7, 1}) })
	interrupt()
	if c := <-code; c != exitDone {
		t.Errorf("exit code %d, stderr %q", c, stderr.String())
	}
}
