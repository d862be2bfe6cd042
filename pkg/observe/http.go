package observe

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// maxRequest bounds a request's body, in bytes.
const maxRequest = 64 << 10

// Register mounts the observer's questions on a mux, under /v1/.
func (o *Observer) Register(mux *http.ServeMux) {
	get(mux, "ports", o.Ports)
	get(mux, "policies", o.Policies)
	get(mux, "rules", o.Rules)
	get(mux, "identities", o.Identities)
	get(mux, "flows", o.Flows)
	get(mux, "nodes", o.Nodes)
	get(mux, "pipeline", o.Pipeline)
	get(mux, "status", o.Status)
	post(mux, "trace", o.Trace)
	post(mux, "trace/live/plan", o.LivePlan)
}

// post answers a question that is the body of its request.
func post[Q, A any](mux *http.ServeMux, name string, answer func(context.Context, Q) (A, error)) {
	mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		var req Q
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err == nil {
			err = json.Unmarshal(body, &req)
		}
		if err != nil {
			write(w, nil, bad("request: %v", err))
			return
		}
		out, err := answer(r.Context(), req)
		write(w, out, err)
	})
}

func get[T any](mux *http.ServeMux, name string, list func(context.Context) (T, error)) {
	mux.HandleFunc("GET /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		out, err := list(r.Context())
		write(w, out, err)
	})
}

func write(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status := http.StatusInternalServerError
		if b := (*BadRequest)(nil); errors.As(err, &b) {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
		v = api.Error{Message: err.Error()}
	}
	// Who has gone away gets no answer.
	_ = json.NewEncoder(w).Encode(v)
}
