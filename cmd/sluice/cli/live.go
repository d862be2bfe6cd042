package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sluice-cni/sluice/cmd/sluice/render"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
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
		if err := checkEnd(args[i]); err != nil {
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
func (a *app) live(ctx context.Context, req api.LiveRequest, count int) (err error) {
	bounded, cancel := a.bounded(ctx)
	defer cancel()
	c := client.New(a.socket)
	defer func() { err = errors.Join(err, c.Close()) }()
	if a.people() {
		fmt.Fprintf(a.streams.Err, "Following packets for %d s...\n", req.Seconds)
	}
	var last *api.LivePacket
	err = c.Live(bounded, req, func(p *api.LivePacket) error {
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
	case err != nil && !errors.Is(err, errEnough) && bounded.Err() == nil:
		return advise(err, a.socket)
	case last == nil && ctx.Err() == nil:
		return fmt.Errorf("no such packet has come to the bridge in %d s", req.Seconds)
	case last != nil && last.Verdict != api.Allowed:
		return exit(exitDenied)
	}
	return nil
}

func (a *app) showPacket(p *api.LivePacket) error {
	switch a.output {
	case formatJSON:
		out := json.NewEncoder(a.streams.Out)
		out.SetEscapeHTML(false)
		return out.Encode(p)
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
