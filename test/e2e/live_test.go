package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/test/bed"
)

// left is what following packets could leave on the bridge: its flows and meters.
func (n *told) left(t *testing.T) []string {
	t.Helper()
	bridge, err := openflow.Open(openflow.Config{Target: bed.Bridge, RunDir: n.OVS.RunDir(), Native: true})
	if err != nil {
		t.Fatal(err)
	}
	fs, err := bridge.DumpFlows(within(t))
	if err != nil {
		t.Fatal(err)
	}
	meters, err := bridge.DumpMeters(within(t))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range fs {
		out = append(out, openflow.Text(f))
	}
	for _, m := range meters {
		out = append(out, fmt.Sprintf("%+v", m))
	}
	slices.Sort(out)
	return out
}

// A packet is followed through the tables that a trace of it names, for the reason
// that it gives. Nothing of that is left when it ends.
func (n *told) packetsAreFollowed(t *testing.T) {
	before := n.left(t)
	for _, p := range []probe{
		{&n.client.Host, &n.server.Host, 4, corev1.ProtocolTCP, 80}, {&n.stranger.Host, &n.server.Host, 6, corev1.ProtocolUDP, 80},
	} {
		x, err := n.explained(within(t), p)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, s := range x.Steps {
			if len(want) == 0 || want[len(want)-1] != s.Table { // a flow may go on to the next page
				want = append(want, s.Table)
			}
		}
		ctx, cancel := context.WithCancel(within(t))
		packets, ended := make(chan *api.LivePacket, 1000), make(chan error, 1)
		c := n.Client()
		go func() {
			req := api.LiveRequest{From: p.from.Name, To: p.to.Name, Protocol: strings.ToLower(string(p.protocol)), Port: p.port, Seconds: 300}
			ended <- c.Live(ctx, req, func(l *api.LiveLine) error {
				if l.Packet != nil {
					packets <- l.Packet
				}
				return nil
			})
		}()
		eventually(t, "a packet is followed", func(context.Context) error {
			n.expect(t, p, x.Verdict == api.Allowed)
			// Copies are metered. Where some were lost the next packets have to leave time
			// for more.
			enough := time.After(time.Second)
			for {
				select {
				case got := <-packets:
					var crossed []string
					for _, s := range got.Steps {
						crossed = append(crossed, s.Table)
					}
					if got.Reason == x.Reason && got.Verdict == x.Verdict && slices.Equal(crossed, want) && got.From.Pod == p.from.Name && got.To.Pod == p.to.Name {
						return nil
					}
					if got.Reason == x.Reason {
						t.Errorf("%v crossed %v, a trace says %v; %+v", p, crossed, want, got)
					}
				case err := <-ended:
					t.Fatalf("follow %v: %v", p, err)
				case <-enough:
					return errors.New("none has been")
				}
			}
		})
		if slices.Equal(n.left(t), before) {
			t.Error("no flows follow packets")
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		c.Close()
		eventually(t, "nothing is left", func(context.Context) error {
			if now := n.left(t); !slices.Equal(now, before) {
				return fmt.Errorf("%d flows and meters, before %d", len(now), len(before))
			}
			return nil
		})
	}
}
