// Package unixctl calls the control commands of a running Open vSwitch daemon,
// those of ovs-appctl(8), over the daemon's control socket and without a fork.
package unixctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/ovs/unixctl/jsonrpc"
)

// Client calls commands of one daemon. Every call has a connection of its own,
// so that a Client outlives restarts of the daemon and may be shared.
type Client struct {
	path string
}

// New returns a client of the daemon that listens on the control socket at path,
// which need not exist yet.
func New(path string) *Client { return &Client{path: path} }

// Path returns the path of the control socket.
func (c *Client) Path() string { return c.path }

// CommandError is a daemon's refusal of a command: it is not known, its
// arguments do not fit, or what it names is not there.
type CommandError struct {
	Method string
	Args   []string
	// Text is what the daemon said, without trailing newlines.
	Text string
}

// Error returns the command's name with the daemon's text.
func (e *CommandError) Error() string { return e.Method + ": " + e.Text }

// Call runs a command and returns its output. A *CommandError says that the
// daemon refused; any other error that it could not be asked.
//
// The daemon serves commands in its main loop: a call waits for what the daemon
// is busy with, and gives up only when ctx ends.
func (c *Client) Call(ctx context.Context, method string, args ...string) (string, error) {
	if args == nil {
		args = []string{} // the daemon refuses null for params
	}
	result, err := jsonrpc.Call(ctx, c.path, method, args)
	var refused *jsonrpc.Error
	if errors.As(err, &refused) {
		return "", &CommandError{Method: method, Args: args, Text: strings.TrimRight(refused.Error(), "\n")}
	}
	if err != nil {
		return "", fmt.Errorf("call %s on %s: %w", method, c.path, err)
	}
	var text string
	if err := json.Unmarshal(result, &text); err != nil {
		return "", fmt.Errorf("call %s on %s: result is not a string: %w", method, c.path, err)
	}
	return text, nil
}

// Find returns the control socket of a daemon ("ovs-vswitchd", "ovsdb-server")
// that was started with its default file names in rundir, normally
// /var/run/openvswitch. The socket's name carries the process id, so that Find
// must be asked again after the daemon has restarted.
func Find(rundir, daemon string) (string, error) {
	pidfile := filepath.Join(rundir, daemon+".pid")
	text, err := os.ReadFile(pidfile)
	if err != nil {
		return "", fmt.Errorf("find the control socket of %s (is it running?): %w", daemon, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return "", fmt.Errorf("find the control socket of %s: pid file %s holds %q, not a process id", daemon, pidfile, text)
	}
	path := filepath.Join(rundir, fmt.Sprintf("%s.%d.ctl", daemon, pid))
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find the control socket of %s: %w", daemon, err)
	}
	return path, nil
}

// Run names the run of a daemon that goes on now: it is another after a restart,
// even if the process has the same id, as in a container. It is that of the
// control socket, which a daemon makes anew at its start.
func Run(rundir, daemon string) (string, error) {
	path, err := Find(rundir, daemon)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("look at the control socket of %s: %w", daemon, err)
	}
	return fmt.Sprintf("%s@%d", filepath.Base(path), info.ModTime().UnixNano()), nil
}
