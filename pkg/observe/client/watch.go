package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// ErrEnded says that the agent has ended a stream: it has stopped, or has cut off a
// reader that did not read.
var ErrEnded = errors.New("the agent has ended the stream")

// Watch calls fn for each line of the stream of verdicts, until ctx ends or fn
// returns an error, which it returns. Without q.Follow it returns nil after the
// recent events.
func (c *Client) Watch(ctx context.Context, q api.WatchQuery, fn func(api.WatchLine) error) error {
	resp, err := c.do(ctx, http.MethodGet, "watch?"+q.Values().Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := json.NewDecoder(resp.Body)
	for {
		var line api.WatchLine
		err := in.Decode(&line)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF) && !q.Follow:
			return nil
		case err != nil:
			return fmt.Errorf("read the verdicts of the agent at %s: %w (%w)", c.socket, ErrEnded, err)
		}
		if err := fn(line); err != nil {
			return err
		}
	}
}

// WatchStatus asks how complete the stream of verdicts is.
func (c *Client) WatchStatus(ctx context.Context) (out api.WatchStatus, err error) {
	err = c.list(ctx, "watch/status", &out)
	return out, err
}

// LivePlan asks at which nodes the packets of a request come by.
func (c *Client) LivePlan(ctx context.Context, req api.LiveRequest) (*api.LivePlan, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("write the question to follow packets: %w", err)
	}
	out := &api.LivePlan{}
	if err := c.ask(ctx, http.MethodPost, "trace/live/plan", bytes.NewReader(body), out); err != nil {
		return nil, err
	}
	return out, nil
}

// Live follows real packets through the bridge and calls fn with each line, until ctx
// or the time of the request ends or fn returns an error, which it returns.
func (c *Client) Live(ctx context.Context, req api.LiveRequest, fn func(*api.LiveLine) error) error {
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("write the question to follow packets: %w", err)
	}
	resp, err := c.do(ctx, http.MethodPost, "trace/live", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err = ReadLive(ctx, resp.Body, fn); errors.Is(err, ErrEnded) {
		err = fmt.Errorf("read the packets of the agent at %s: %w", c.socket, err)
	}
	return err
}

// maxLine bounds a line of a stream, in bytes. A packet's way has some thousands.
const maxLine = 1 << 20

// ReadLive reads the lines of a stream that answers an api.LiveRequest. A stream that
// ends before its time is an error.
func ReadLive(ctx context.Context, stream io.Reader, fn func(*api.LiveLine) error) error {
	in := bufio.NewScanner(stream)
	in.Buffer(nil, maxLine)
	for in.Scan() && ctx.Err() == nil {
		var l api.LiveLine
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return fmt.Errorf("%w (%w)", ErrEnded, err)
		}
		if l.Ended != "" {
			return fmt.Errorf("%w: %s", ErrEnded, l.Ended)
		}
		if err := fn(&l); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case in.Err() != nil:
		return fmt.Errorf("%w (%w)", ErrEnded, in.Err())
	}
	return nil
}
