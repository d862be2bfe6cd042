package check

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// maxRequest bounds a request's body, in bytes.
const maxRequest = 64 << 10

// progressInterval is the least time between two lines that say how far it is.
const progressInterval = 100 * time.Millisecond

// Register mounts the checks on a mux: POST /v1/check, answered by lines of
// api.Progress.
func (c *Checker) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/check", Handler(c.Run))
}

// Handler answers a question that takes a while by lines of api.Progress, the
// last of which has the result, or says why there is none.
func Handler[Q, A any](answer func(context.Context, Q, func(done, all int)) (*A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		var mu sync.Mutex
		last, next := 0, time.Time{}
		say := func(line api.Progress[A]) {
			// Who has gone away gets no answer: the request's context ends.
			_ = json.NewEncoder(w).Encode(line)
			_ = http.NewResponseController(w).Flush()
		}
		var q Q
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err == nil && len(body) > 0 {
			err = json.Unmarshal(body, &q)
		}
		if err != nil {
			say(api.Progress[A]{Error: "request: " + err.Error()})
			return
		}
		a, err := answer(r.Context(), q, func(done, all int) {
			mu.Lock()
			defer mu.Unlock()
			// They come from several goroutines.
			now := time.Now()
			if done <= last || now.Before(next) {
				return
			}
			last, next = done, now.Add(progressInterval)
			say(api.Progress[A]{Done: done, All: all})
		})
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			say(api.Progress[A]{Error: err.Error()})
			return
		}
		say(api.Progress[A]{Result: a})
	}
}
