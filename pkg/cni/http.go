package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/sluice-cni/sluice/pkg/cni/wire"
)

// Register mounts the commands on the mux that serves the agent's socket.
func (s *Server) Register(mux *http.ServeMux) {
	silent := func(f func(context.Context, wire.Request) error) command {
		return func(ctx context.Context, req wire.Request) (json.RawMessage, error) { return nil, f(ctx, req) }
	}
	for _, c := range []struct {
		wire.Command
		run command
	}{
		{wire.Add, s.Add},
		{wire.Del, silent(s.Del)},
		{wire.Check, silent(s.Check)},
		{wire.GC, silent(s.GC)},
		{wire.Status, silent(s.Status)},
	} {
		mux.Handle(http.MethodPost+" "+c.Path(), s.handler(c.Command, c.run))
	}
}

type command func(context.Context, wire.Request) (json.RawMessage, error)

// handler answers one command. The request's context ends when the plugin goes
// away, and then the command gives up.
func (s *Server) handler(name wire.Command, run command) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body is read to its end: only then does net/http watch for the
		// connection being closed.
		begun := time.Now()
		var resp wire.Response
		status := http.StatusOK
		req, err := decode(w, r)
		if err != nil {
			status = http.StatusBadRequest
		} else if resp.Result, err = run(r.Context(), req); err != nil {
			status = http.StatusInternalServerError
		}
		if err != nil {
			resp = wire.Response{Error: asCNI(err)}
			level := 0
			if name == wire.Status {
				level = 2 // runtimes ask again and again
			}
			klog.FromContext(r.Context()).V(level).Info("CNI command failed", "command", name,
				"containerID", req.ContainerID, "ifName", req.IfName, "code", resp.Error.Code, "err", err)
		}
		if s.cfg.OnCommand != nil {
			var code uint
			if resp.Error != nil {
				code = resp.Error.Code
			}
			s.cfg.OnCommand(name, time.Since(begun), code)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		// A plugin that has gone away gets no answer, and asks again if it must.
		_ = json.NewEncoder(w).Encode(resp)
	})
}

func decode(w http.ResponseWriter, r *http.Request) (wire.Request, error) {
	var req wire.Request
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
	if err != nil {
		return req, types.NewError(types.ErrIOFailure, "reading the request", err.Error())
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return req, types.NewError(types.ErrDecodingFailure, "the request is not as this agent knows it", err.Error())
	}
	return req, nil
}

func asCNI(err error) *types.Error {
	var coded *types.Error
	if errors.As(err, &coded) {
		return coded
	}
	return types.NewError(types.ErrInternal, err.Error(), "")
}

// Listen opens the agent's socket for root alone, in place of one that an agent
// before has left.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("agent socket %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("agent socket %s: %w", path, err)
	}
	// The mode a socket has before bind(2) is that of its file, so that there is no
	// moment in which others could connect.
	restrict := func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, failed)
	}
	l, err := (&net.ListenConfig{Control: restrict}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("agent socket %s: %w", path, err)
	}
	// Closing must not unlink: the name may be a newer agent's by then.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, nil
}
