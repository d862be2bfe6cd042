package verdict

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// writeTime is how long a reader may take to take what is written to it. One that
// has stopped reading, without closing its connection, is cut off after that.
const writeTime = 30 * time.Second

// Register mounts the stream on a mux: GET /v1/watch answers with one
// api.WatchLine of JSON on each line, GET /v1/watch/status with an
// api.WatchStatus. See Query for what /v1/watch can be asked.
func (s *Stream) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/watch", s.serve)
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

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Error{Message: err.Error()})
}

// Query is what a reader asks for.
type Query struct {
	Filter
	// Last is how many recent events come first, Follow whether those that come later
	// follow.
	Last   int
	Follow bool
}

// Values writes the query as that of a URL: pod, namespace, verdict (several
// times), policy, direction, allows, last, follow.
func (q Query) Values() url.Values {
	v := url.Values{"verdict": q.Verdicts, "follow": {strconv.FormatBool(q.Follow)}}
	for name, value := range map[string]string{"pod": q.Pod, "namespace": q.Namespace, "policy": q.Policy, "direction": q.Direction} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Allows {
		v.Set("allows", "true")
	}
	if q.Last > 0 {
		v.Set("last", strconv.Itoa(q.Last))
	}
	return v
}

// ParseQuery reads what Values writes. Follow is true if it is not said.
func ParseQuery(v url.Values) (q Query, err error) {
	q.Pod, q.Namespace, q.Policy, q.Direction = v.Get("pod"), v.Get("namespace"), v.Get("policy"), v.Get("direction")
	for name := range v {
		if !slices.Contains([]string{"pod", "namespace", "policy", "direction", "verdict", "allows", "last", "follow"}, name) {
			return q, fmt.Errorf("%s: not known", name)
		}
	}
	q.Verdicts = v["verdict"]
	for _, verdict := range q.Verdicts {
		if !slices.Contains([]string{api.Allowed, api.Denied, api.Spoofed, api.Invalid}, verdict) {
			return q, fmt.Errorf("verdict: %q is not allowed, denied, spoofed or invalid", verdict)
		}
	}
	if q.Direction != "" && q.Direction != "egress" && q.Direction != "ingress" {
		return q, fmt.Errorf("direction: %q is not egress or ingress", q.Direction)
	}
	q.Follow = true
	for name, value := range map[string]*bool{"allows": &q.Allows, "follow": &q.Follow} {
		if text := v.Get(name); text != "" {
			if *value, err = strconv.ParseBool(text); err != nil {
				return q, fmt.Errorf("%s: %q is not true or false", name, text)
			}
		}
	}
	if text := v.Get("last"); text != "" {
		if q.Last, err = strconv.Atoi(text); err != nil || q.Last < 0 {
			return q, fmt.Errorf("last: %q is not a number of events", text)
		}
	}
	return q, nil
}

func (s *Stream) serve(w http.ResponseWriter, r *http.Request) {
	q, err := ParseQuery(r.URL.Query())
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
		_ = write(s.Recent(q.Filter, q.Last), 0)
		return
	}
	reader := s.Read(q.Filter, q.Last)
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
