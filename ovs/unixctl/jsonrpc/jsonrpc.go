// Package jsonrpc makes single JSON-RPC 1.0 calls to Open vSwitch daemons over
// their unix sockets: the control socket (ovs-appctl(8)) and the database socket
// (RFC 7047, section 4) speak the same framing.
package jsonrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// message is a request, a notification or a response, whichever fields are set.
type message struct {
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
	ID     json.RawMessage `json:"id"`
}

type request struct {
	Method string `json:"method"`
	Params any    `json:"params"`
	ID     int    `json:"id"`
}

type echoReply struct {
	Result json.RawMessage `json:"result"`
	Error  any             `json:"error"`
	ID     json.RawMessage `json:"id"`
}

// Error is the error member of a response: the peer understood the call and
// refused it.
type Error struct {
	// Value is the member's JSON value.
	Value json.RawMessage
}

// Error returns the peer's text, or its JSON if it is not a plain string.
func (e *Error) Error() string {
	var text string
	if json.Unmarshal(e.Value, &text) == nil {
		return text
	}
	return string(e.Value)
}

// Call connects to the unix socket at path, makes one call and returns its
// result. It ends early when ctx does, with ctx's error. params must encode to a
// JSON array. A refusal by the peer is an *Error.
func Call(ctx context.Context, path, method string, params any) (json.RawMessage, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// Ending ctx wakes up a blocked read or write.
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	result, err := exchange(conn, method, params)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return result, err
}

func exchange(conn io.ReadWriter, method string, params any) (json.RawMessage, error) {
	const id = 0
	enc, dec := json.NewEncoder(conn), json.NewDecoder(conn)
	if err := enc.Encode(request{Method: method, Params: params, ID: id}); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("connection closed by the daemon")
			}
			return nil, fmt.Errorf("read reply: %w", err)
		}
		switch {
		case m.Method == "echo":
			// ovsdb-server probes a connection that has been silent for 5 s
			// and drops it if nothing comes back.
			if err := enc.Encode(echoReply{Result: m.Params, ID: m.ID}); err != nil {
				return nil, fmt.Errorf("answer echo: %w", err)
			}
		case m.Method != "":
			// A notification, which a single call has no use for.
		case string(m.ID) != "0":
			return nil, fmt.Errorf("reply has id %s, want %d", m.ID, id)
		case len(m.Error) > 0 && string(m.Error) != "null":
			return nil, &Error{Value: m.Error}
		default:
			return m.Result, nil
		}
	}
}
