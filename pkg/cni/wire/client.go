package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// ErrUnreachable says that nothing listens at the agent's socket: no agent runs.
// An agent that hangs until its queue of connections overflows is not unreachable.
var ErrUnreachable = errors.New("the agent is not reachable")

// Call sends a request to the agent at a socket and returns the result. Its
// error wraps ErrUnreachable if nothing listens there, is the agent's own
// *types.Error if the agent answered with one, and otherwise leaves open whether
// the request was carried out.
func Call(ctx context.Context, socket string, cmd Command, req Request) (json.RawMessage, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "network configuration is not JSON", err.Error())
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return conn, err
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	httpReq, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sluice-agent"+cmd.Path(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("building the %s request: %w", cmd, err)
	}
	httpReq.Header.Set("Content-Type", "application/json")
	httpResp, err := transport.RoundTrip(httpReq)
	if err != nil {
		return nil, fmt.Errorf("%s: asking the agent at %s: %w", strings.ToUpper(string(cmd)), socket, err)
	}
	defer httpResp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(httpResp.Body, MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer to %s of the agent at %s: %w", cmd, socket, err)
	}
	var resp Response
	if err := json.Unmarshal(answer, &resp); err != nil || len(answer) > MaxBody {
		return nil, fmt.Errorf("what answers at %s is no Sluice agent of this version: status %s", socket, httpResp.Status)
	}
	if resp.Error != nil {
		return nil, resp.Error
	}
	if httpResp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the agent at %s answered %s without an error", socket, httpResp.Status)
	}
	return resp.Result, nil
}
