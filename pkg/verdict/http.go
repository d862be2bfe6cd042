package verdict

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// writeTime is how long a reader may take to take what is written to it. One that
// has stopped reading, without closing its connection, is cut off after that.
const writeTime = 30 * time.Second

// maxQuestion bounds a request's body, in bytes: each arrival takes some 120.
const maxQuestion = 128 << 10

// Register mounts the stream on a mux: GET /v1/watch answers with one
// api.WatchLine of JSON on each line, GET /v1/watch/status with an
// api.WatchStatus, and POST /v1/trace/live (serveLive). See api.WatchQuery for what /v1/watch can be asked.
func (s *Stream) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/watch", s.serve)
	mux.HandleFunc("POST /v1/trace/live", s.serveLive)
	mux.HandleFunc("GET /v1/watch/status", func(w http.ResponseWriter, r *http.Request) {
		status, err := s.Status(r.Context())
		if err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status)
	})
}

// serveLive answers POST /v1/trace/live, an api.LiveRequest, with an api.LiveLine on
// each line.
func (s *Stream) serveLive(w http.ResponseWriter, r *http.Request) {
	var req api.LiveRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&req); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("request: %w", err))
		return
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	control := http.NewResponseController(w)
	began := false
	write := func(l *api.LiveLine) error {
		if !began {
			began = true
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		if err := control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return err
		}
		if err := out.Encode(l); err != nil {
			return err
		}
		return control.Flush()
	}
	err := s.Live(r.Context(), req, write)
	switch {
	case began && errors.Is(err, context.DeadlineExceeded): // it ends as it was to end
	case began:
		_ = write(&api.LiveLine{Ended: err.Error()}) // perhaps nobody reads any more
	case errors.As(err, new(*observe.BadRequest)):
		refuse(w, http.StatusBadRequest, err)
	case errors.Is(err, ErrBusy):
		refuse(w, http.StatusConflict, err)
	default:
		refuse(w, http.StatusInternalServerError, err)
	}
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Error{Message: err.Error()})
}

func (s *Stream) serve(w http.ResponseWriter, r *http.Request) {
	q, err := api.ParseWatchQuery(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	control := http.NewResponseController(w)
	write := func(events []*api.Event, lost uint64) error {
		if err := control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return err
		}
		if lost > 0 {
			if err := out.Encode(api.WatchLine{Lost: lost}); err != nil {
				return err
			}
		}
		for _, e := range events {
			if err := out.Encode(api.WatchLine{Event: e}); err != nil {
				return err
			}
		}
		return control.Flush()
	}
	if !q.Follow {
		_ = write(s.Recent(q.WatchFilter, q.Last), 0)
		return
	}
	reader := s.Read(q.WatchFilter, q.Last)
	defer reader.Close()
	// The headers tell the reader that it is being heard.
	for err := write(nil, 0); err == nil; {
		var events []*api.Event
		var lost uint64
		if events, lost, err = reader.Next(r.Context()); err == nil {
			err = write(events, lost)
		}
	}
}
