package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Check asks for the checks of the node. progress hears how many are done.
func (c *Client) Check(ctx context.Context, req api.CheckRequest, progress func(done, all int)) (*api.CheckReport, error) {
	return follow[api.CheckReport](ctx, c, "check", req, progress)
}

// CheckVerdicts asks to hold the bridge's verdicts against what policies say.
func (c *Client) CheckVerdicts(ctx context.Context, req api.VerdictRequest, progress func(done, all int)) (*api.VerdictReport, error) {
	return follow[api.VerdictReport](ctx, c, "check/verdicts", req, progress)
}

// follow reads lines of api.Progress until the one that has the result.
func follow[A any](ctx context.Context, c *Client, what string, req any, progress func(done, all int)) (*A, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("write the question for %s: %w", what, err)
	}
	resp, err := c.do(ctx, http.MethodPost, what, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)); ; {
		var line api.Progress[A]
		if err := lines.Decode(&line); err != nil {
			return nil, fmt.Errorf("read the answer for %s of the agent at %s: %w", what, c.socket, err)
		}
		switch {
		case line.Error != "":
			return nil, errors.New(line.Error)
		case line.Result != nil:
			return line.Result, nil
		case progress != nil:
			progress(line.Done, line.All)
		}
	}
}
