// Package client asks a node's agent, over its unix socket, what package observe
// answers there.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// ErrNoAgent says that no agent listens at the socket: it is not there, or
// nobody serves it any more.
var ErrNoAgent = errors.New("no agent listens")

// maxAnswer bounds an answer, in bytes. 100,000 flows take about 30 MB.
const maxAnswer = 256 << 20

// Client asks one agent. It is safe for concurrent use and keeps connections
// open between calls until Close.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client of the agent at a socket. It does not connect yet.
func New(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
			err = fmt.Errorf("%w: %w", ErrNoAgent, err)
		}
		return conn, err
	}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Close closes the connections that are idle.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Trace asks for the way of a connection's first packet.
func (c *Client) Trace(ctx context.Context, req api.TraceRequest) (*api.Explanation, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("write the question to trace: %w", err)
	}
	x := &api.Explanation{}
	if err := c.ask(ctx, http.MethodPost, "trace", bytes.NewReader(body), x); err != nil {
		return nil, err
	}
	return x, nil
}

// Ports lists the pods' ports.
func (c *Client) Ports(ctx context.Context) (out []api.Port, err error) {
	err = c.list(ctx, "ports", &out)
	return out, err
}

// Policies lists the cluster's policies.
func (c *Client) Policies(ctx context.Context) (out []api.Policy, err error) {
	err = c.list(ctx, "policies", &out)
	return out, err
}

// Rules lists the rules in force.
func (c *Client) Rules(ctx context.Context) (out []api.Rule, err error) {
	err = c.list(ctx, "rules", &out)
	return out, err
}

// Identities lists the classes of peers.
func (c *Client) Identities(ctx context.Context) (out []api.Identity, err error) {
	err = c.list(ctx, "identities", &out)
	return out, err
}

// Flows lists the flows the bridge should hold.
func (c *Client) Flows(ctx context.Context) (out []api.Flow, err error) {
	err = c.list(ctx, "flows", &out)
	return out, err
}

// Nodes lists the ways to other nodes' pods.
func (c *Client) Nodes(ctx context.Context) (out []api.Node, err error) {
	err = c.list(ctx, "nodes", &out)
	return out, err
}

// Pipeline asks for the tables and their counters.
func (c *Client) Pipeline(ctx context.Context) (out api.Pipeline, err error) {
	err = c.list(ctx, "pipeline", &out)
	return out, err
}

// Status asks how the agent is.
func (c *Client) Status(ctx context.Context) (out api.Status, err error) {
	err = c.list(ctx, "status", &out)
	return out, err
}

func (c *Client) list(ctx context.Context, what string, out any) error {
	return c.ask(ctx, http.MethodGet, what, nil, out)
}

// ask does one round trip. An answer that is an error is returned in the
// agent's words.
func (c *Client) ask(ctx context.Context, method, what string, body io.Reader, out any) error {
	resp, err := c.do(ctx, method, what, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := c.read(resp, what)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("the answer for %s of the agent at %s is not understood: %w", what, c.socket, err)
	}
	return nil
}

// do sends a request and returns the answer, whose body is the caller's to close,
// unless it is an error.
func (c *Client) do(ctx context.Context, method, what string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent/v1/"+what, body)
	if err != nil {
		return nil, fmt.Errorf("ask the agent for %s: %w", what, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		// The URL that net/http puts around errors says nothing about a socket.
		if cause := errors.Unwrap(err); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("ask the agent at %s for %s: %w", c.socket, what, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	answer, err := c.read(resp, what)
	if err != nil {
		return nil, err
	}
	var refusal api.Error
	if json.Unmarshal(answer, &refusal) != nil || refusal.Message == "" {
		return nil, fmt.Errorf("what serves %s does not answer for %s: status %s; is it a Sluice agent of this version?", c.socket, what, resp.Status)
	}
	return nil, errors.New(refusal.Message)
}

// read reads an answer whole.
func (c *Client) read(resp *http.Response, what string) ([]byte, error) {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer for %s of the agent at %s: %w", what, c.socket, err)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("the answer for %s of the agent at %s is larger than %d bytes", what, c.socket, maxAnswer)
	}
	return answer, nil
}
