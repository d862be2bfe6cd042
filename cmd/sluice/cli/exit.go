package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/sluice-cni/sluice/pkg/observe/client"
)

// The exit codes, which scripts rely on.
const (
	exitDone     = 0
	exitError    = 1
	exitUsage    = 2
	exitDenied   = 3
	exitDiffers  = 4
	exitProblems = 5
	// exitIncomplete: a node on the packet's way was not asked.
	exitIncomplete = 6
	// exitLost: a real packet left one node and did not come to the next.
	exitLost      = 7
	exitInterrupt = 130 // 128 and SIGINT, as shells have it
)

// exit is an error that only ends the program with a code: what there is to say
// has been said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usageError is a wrong use of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

func exitCode(ctx context.Context, err error) int {
	var code exit
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, new(usageError)):
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupt
	}
	return exitError
}

// messageOf is what to print of an error.
func messageOf(err error) string {
	if err == nil || errors.As(err, new(exit)) {
		return ""
	}
	return err.Error()
}

// advise adds to an error of asking the agent what can be done about it.
func advise(err error, socket string) error {
	switch {
	case errors.Is(err, client.ErrNoAgent) && errors.Is(err, syscall.ENOENT):
		return fmt.Errorf(`no agent at %s: there is no such socket
  sluice asks the sluice-agent of the node it runs on: run it there, for instance in the agent's pod.
  If the agent has another socket, say so with --socket or %s.
  To try policies from files without an agent: sluice simulate -f DIR, or trace and get with -f DIR`, socket, socketVariable)
	case errors.Is(err, client.ErrNoAgent):
		return fmt.Errorf(`no agent at %s: nobody listens at the socket
  The agent has stopped: see its log. What it has written to the bridge is still enforced`, socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf(`may not use the socket %s: permission denied
  Only the agent's user may, which is root: try again with sudo`, socket)
	}
	return err
}
