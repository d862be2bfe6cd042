package verdict

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// writeTime is how long a reader may take to take what is written to it. One that
// has stopped reading, without closing its connection, is cut off after that.
const writeTime = 30 * time.Second

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

// serveLive answers POST /v1/trace/live, an api.LiveRequest, with an api.LivePacket
// on each line.
func (s *Stream) serveLive(w http.ResponseWriter, r *http.Request) {
	var req api.LiveRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&req); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("request: %w", err))
		return
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	control := http.NewResponseController(w)
	began := false
	err := s.Live(r.Context(), req, func() error {
		began = true
		w.Header().Set("Content-Type", "application/x-ndjson")
		return control.Flush()
	}, func(p *api.LivePacket) error {
		if err := control.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
			return err
		}
		if err := out.Encode(p); err != nil {
			return err
		}
		return control.Flush()
	})
	if began {
		return // it has ended as it was to end, or nobody reads any more
	}
	status := http.StatusInternalServerError
	switch {
	case errors.As(err, new(BadLive)):
		status = http.StatusBadRequest
	case errors.Is(err, ErrBusy):
		status = http.StatusConflict
	}
	refuse(w, status, err)
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
