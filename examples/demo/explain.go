package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sluice-cni/sluice/examples"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/test/bed"
)

// exitDenied is the exit code of "sluice trace" for a connection that is denied.
const exitDenied = 3

// explain traces one packet that is allowed and one that is denied. It returns
// how many verdicts differ from what is expected.
func (d *demo) explain(ctx context.Context, b *bed.Bed, list []examples.Expectation) (wrong int, err error) {
	allowed, denied, err := choose(ctx, b, list)
	if err != nil {
		return 0, err
	}
	for _, x := range []*examples.Expectation{allowed, denied} {
		if x == nil {
			continue
		}
		said, err := d.trace(ctx, b, *x)
		if err != nil {
			return wrong, err
		}
		if said != x.Allow {
			wrong++
			if _, err := fmt.Fprintf(d.out, "%s trace says %s, expected: %s\n", d.style.paint(red, "MISMATCH"), verdict(said), x); err != nil {
				return wrong, err
			}
		}
	}
	return wrong, nil
}

// choose chooses what to trace: the first connection that a rule allows (not just
// the absence of policies), and the first that is denied.
func choose(ctx context.Context, b *bed.Bed, list []examples.Expectation) (allowed, denied *examples.Expectation, err error) {
	agent := b.Client()
	defer agent.Close()
	for i := range list {
		x := &list[i]
		if x.Allow && allowed == nil {
			s := serviceOf(*x)
			e, err := agent.Trace(ctx, api.TraceRequest{From: x.From.String(), To: x.To.String(), Protocol: s.protocol, Port: s.port})
			if err != nil {
				return nil, nil, fmt.Errorf("trace %s: %w", x, err)
			}
			if byRule(e.Egress) || byRule(e.Ingress) {
				allowed = x
			}
		}
		if !x.Allow && denied == nil {
			denied = x
		}
	}
	return allowed, denied, nil
}

func byRule(s *api.Side) bool { return s != nil && s.AllowedBy != nil }

// trace runs the sluice command, as the reader would.
func (d *demo) trace(ctx context.Context, b *bed.Bed, x examples.Expectation) (allowed bool, err error) {
	args := []string{"trace", x.From.String(), x.To.String(), serviceOf(x).String()}
	if _, err := fmt.Fprintf(d.out, "\n%s\n", d.style.paint(bold, "$ sluice "+args[0]+" "+args[1]+" "+args[2]+" "+args[3])); err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "sluice"), args...)
	cmd.Env = append(os.Environ(), "SLUICE_SOCKET="+b.Socket())
	cmd.Stdout, cmd.Stderr = d.out, os.Stderr
	err = cmd.Run()
	var exited *exec.ExitError
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case errors.As(err, &exited) && exited.ExitCode() == exitDenied:
		return false, nil
	}
	return false, fmt.Errorf("sluice trace of %s: %w", x, err)
}
