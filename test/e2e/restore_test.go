package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/ovs/sandbox/sandboxtest"
	"github.com/sluice-cni/sluice/ovs/vsdb"
	"github.com/sluice-cni/sluice/test/bed"
)

// gaps measures for how long at most nothing gets from one host to another and
// back, on a standing connection and on new ones.
type gaps struct {
	cancel          context.CancelFunc
	standing, fresh chan time.Duration
}

// startGaps returns when both have got through.
func startGaps(t testing.TB, from, to *bed.Host) *gaps {
	t.Helper()
	p := probe{from, to, 4, corev1.ProtocolUDP, 80}
	c := dial(t, from, "udp", p)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	g := &gaps{cancel: cancel, standing: make(chan time.Duration, 1), fresh: make(chan time.Duration, 1)}
	const patience = 50 * time.Millisecond // then another datagram is sent
	measure := func(result chan<- time.Duration, send func() error) {
		var longest time.Duration
		for last := time.Now(); ; time.Sleep(2 * time.Millisecond) { // the pace
			err := send()
			now := time.Now()
			longest = max(longest, now.Sub(last))
			if err == nil {
				last = now
			}
			if ctx.Err() != nil {
				result <- longest
				return
			}
		}
	}
	go measure(g.standing, func() error { return bed.Exchange(c, patience) })
	go measure(g.fresh, func() error { return p.send(context.Background(), patience) })
	return g
}

// stop ends the measurement, and returns it.
func (g *gaps) stop() string {
	g.cancel()
	return fmt.Sprintf("longest gap of a standing connection %v, of new ones %v",
		(<-g.standing).Round(time.Millisecond), (<-g.fresh).Round(time.Millisecond))
}

// restartVswitchd starts ovs-vswitchd anew, which waits for its flows if there are
// settings of the database that say so.
func (n *node) restartVswitchd(t testing.TB, settings ...string) {
	t.Helper()
	if err := n.OVS.StopVswitchd(within(t)); err != nil {
		t.Fatal(err)
	}
	if len(settings) > 0 {
		sandboxtest.Run(t, n.OVS, "ovs-vsctl", append([]string{"--no-wait", "set", "Open_vSwitch", "."}, settings...)...)
	}
	if err := n.OVS.StartVswitchd(within(t)); err != nil {
		t.Fatal(err)
	}
}

// What the script of the image sets, and what ovs-ctl(8) does.
var (
	foreignWait = []string{"other_config:flow-restore-wait=true"}
	ownWait     = append([]string{"external_ids:" + vsdb.IDRestore + "=true"}, foreignWait...)
)

// waits returns an error unless ovs-vswitchd is to wait for flows as wanted.
func (n *node) waits(t testing.TB, want bool) error {
	got := sandboxtest.Run(t, n.OVS, "ovs-vsctl", "--columns=other_config", "--bare", "list", "Open_vSwitch")
	if is := len(got) > 1; is != want {
		return fmt.Errorf("other_config is %q, want a wait: %v", got, want)
	}
	return nil
}

// waitsWithoutAgent has ovs-vswitchd wait while nobody ends that: connections that
// the kernel knows the like of go on, new ones too.
func (n *node) waitsWithoutAgent(t testing.TB, client, server *bed.Host) {
	t.Helper()
	if err := n.KillAgent(within(t)); err != nil {
		t.Fatal(err)
	}
	load := startTraffic(t, client, server, 4)
	n.restartVswitchd(t, ownWait...)
	load.moreRounds()
	load.stop()
	if err := n.waits(t, true); err != nil {
		t.Error(err)
	}
	if err := n.StartAgent(within(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ovs-vswitchd works", func(context.Context) error { return n.waits(t, false) })
}

// waitsForOthers has ovs-vswitchd wait for somebody else, who restores what is not
// right any more.
func (n *node) waitsForOthers(t testing.TB, want int) {
	t.Helper()
	right := func(context.Context) error {
		if now := n.flows(t); len(now) != want {
			return fmt.Errorf("there are %d flows, were %d", len(now), want)
		}
		return nil
	}
	n.restartVswitchd(t, foreignWait...)
	eventually(t, "the flows are back", right)
	if err := n.waits(t, true); err != nil {
		t.Error(err)
	}
	sandboxtest.Run(t, n.OVS, "ovs-ofctl", "-O", "OpenFlow15", "del-flows", bed.Bridge, "table=IngressDefault")
	sandboxtest.Run(t, n.OVS, "ovs-vsctl", "--no-wait", "remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait")
	eventually(t, "the flows are right", right)
}
