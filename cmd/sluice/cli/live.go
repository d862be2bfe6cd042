package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/observe/across"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// anyEnd, as FROM or TO of trace --live, stands for everybody.
const anyEnd = "-"

// maxLive is how long packets can be followed at most.
const maxLive = 10 * time.Minute

// liveRequest reads the arguments of trace --live.
func (f *traceFlags) liveRequest(args []string, timeout time.Duration) (req api.LiveRequest, err error) {
	if f.dir != "" {
		return req, errors.New("--live: real packets are on a real bridge: it does not go with -f")
	}
	if f.count < 1 {
		return req, fmt.Errorf("--count: %d is not 1 or more", f.count)
	}
	for i, end := range []*string{&req.From, &req.To} {
		if args[i] == anyEnd {
			continue
		}
		check := checkEnd
		if service, ok := strings.CutPrefix(args[i], api.ServicePrefix); ok && i == 1 {
			check = func(string) error { return checkService(service) }
		}
		if err := check(args[i]); err != nil {
			return req, fmt.Errorf("%s: %w", []string{"FROM", "TO"}[i], err)
		}
		*end = args[i]
	}
	if req.From == "" && req.To == "" {
		return req, errors.New("one of FROM and TO must be said")
	}
	if len(args) == 3 || f.protocol != "" || f.port != 0 {
		service, err := f.service(args)
		if err != nil {
			return req, err
		}
		req.Protocol, req.Port = service.Protocol, service.Port
	}
	if timeout <= 0 || timeout > maxLive {
		timeout = maxLive
	}
	req.Seconds = max(1, int(timeout.Seconds()))
	return req, nil
}

// errEnough ends following packets.
var errEnough = errors.New("enough packets")

// live follows real packets and shows them as they come. The exit code is that of
// the last one's verdict.
func (a *app) live(cmd *cobra.Command, f *traceFlags, req api.LiveRequest) error {
	ctx := cmd.Context()
	return a.withAgents(ctx, cmd, &f.agents, req.From, func(agents across.Agents, node string) error {
		var last *api.LivePacket
		count := f.count
		seen, err := across.Live(ctx, agents, node, req, func(s *across.Seen) {
			// A script that sends them has to know when it may.
			fmt.Fprintf(render.Safe(a.streams.Err), "Following packets for %d s on %s...\n", req.Seconds, strings.Join(s.Nodes, ", "))
		}, func(p *api.LivePacket) error {
			last = p
			if err := a.showPacket(p); err != nil {
				return err
			}
			if count--; count == 0 {
				return errEnough
			}
			return nil
		})
		switch {
		case err != nil && !errors.Is(err, errEnough) && (ctx.Err() == nil || last == nil):
			return err
		case last == nil:
			return noPacket(seen, req)
		}
		return exitOf(last.Verdict)
	})
}

// exitOf is the exit code of a verdict.
func exitOf(verdict string) error {
	switch verdict {
	case api.Allowed:
		return nil
	case api.HalfAsked:
		return exit(exitIncomplete)
	case api.Lost:
		return exit(exitLost)
	}
	return exit(exitDenied)
}

// noPacket says that none was followed, and what is known nevertheless.
func noPacket(seen *across.Seen, req api.LiveRequest) error {
	text := fmt.Sprintf("no such packet has come to the bridge of node %s in %d s", seen.Nodes[0], req.Seconds)
	if n := seen.Count.Matched; n > 0 {
		text = fmt.Sprintf("%d such packets have come to the bridge of node %s, and the agent was told of none of them", n, seen.Nodes[0])
	}
	for _, node := range slices.Sorted(maps.Keys(seen.Others)) {
		if n := seen.Others[node]; n > 0 {
			text += fmt.Sprintf("; but node %s has seen %d", node, n)
		}
	}
	return errors.New(text)
}

func (a *app) showPacket(p *api.LivePacket) error {
	switch a.output {
	case formatJSON:
		return a.write(p)
	case formatYAML:
		data, err := yaml.Marshal(p)
		if err != nil {
			return fmt.Errorf("write a packet: %w", err)
		}
		_, err = a.streams.Out.Write(append([]byte("---\n"), data...))
		return err
	}
	return a.print(p, func(w io.Writer, s render.Style) error { return render.LivePacket(w, s, p) })
}
