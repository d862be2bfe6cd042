package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/cli"
	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// A reader of verdicts goes on when the agent is replaced, with events of the
// policies that there are then. No event is told before the new agent knows them.
func (n *told) eventsAfterARestart(t *testing.T) {
	if emulated {
		t.Skip("no datapath has a part in it, and it takes long there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	out, write := io.Pipe()
	running.Go(func() {
		args := []string{"sluice", "watch", "--socket", n.Socket(), "-o", "json", "--pod", n.stranger.Name}
		if code := cli.Run(ctx, args, cli.Streams{Out: write, Err: t.Output()}); code != 0 {
			t.Errorf("sluice watch ended with %d", code)
		}
		write.Close()
	})
	h := &heard{}
	running.Go(func() {
		for in := json.NewDecoder(out); ; {
			e := &api.Event{}
			if err := in.Decode(e); err != nil {
				return
			}
			h.mu.Lock()
			h.events = append(h.events, e)
			h.mu.Unlock()
		}
	})
	c, err := n.stranger.Dial(within(t), "udp", netip.AddrPortFrom(n.server.Addr(4), 5432))
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() {
		defer c.Close()
		tick := time.NewTicker(20 * time.Millisecond) // below the rate of the meters
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_, _ = c.Write([]byte("knock"))
			case <-ctx.Done():
				return
			}
		}
	})
	after := func(begun time.Time) func(*api.Event) bool {
		return func(e *api.Event) bool { return e.Time.After(begun) }
	}
	h.first(t, "what is denied", after(time.Time{}))

	both := toldManifests
	one := strings.Replace(both, "name: closed}\nspec: {podSelector: {matchLabels: {app: server}}}", "name: closed}\nspec: {podSelector: {matchLabels: {app: nobody}}}", 1)
	for i, end := range []func(context.Context) error{n.StopAgent, n.KillAgent, n.StopAgent, n.KillAgent} {
		text, policies := one, []string{"told/guard"}
		if i%2 == 1 {
			text, policies = both, []string{"told/closed", "told/guard"}
		}
		if err := end(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n.folder, "all.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := n.StartAgent(within(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "events of the next agent", func(context.Context) error {
			const enough = 20
			if got := len(h.wanted(after(begun))); got < enough {
				return fmt.Errorf("%d, want %d", got, enough)
			}
			return nil
		})
		events := h.wanted(after(begun))
		for j, e := range events {
			if e.Verdict != api.Denied || e.From.Pod != n.stranger.Name || e.To.Pod != n.server.Name || !slices.Equal(e.Policies, policies) ||
				j > 0 && !e.Time.After(events[j-1].Time) {
				t.Errorf("event %d after restart %d is owed to %v, want %v: %+v", j, i, e.Policies, policies, e)
			}
		}
		if first := events[0]; first.Seq > 2 {
			t.Errorf("the first event that is shown after restart %d is number %d", i, first.Seq)
		}
	}
}
