package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/ovs/openflow"
	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/test/bed"
)

// These tests disturb their node, which may be the one that the others share: they
// are not parallel.

// guarded makes a server that is guarded, a client that may reach it on port 80,
// and a stranger who may not.
func (n *node) guarded(t testing.TB, namespace string) (server, client, stranger *bed.Pod) {
	t.Helper()
	n.namespace(t, namespace, nil)
	server = n.pod(t, namespace, "server", map[string]string{"app": "server"})
	client = n.pod(t, namespace, "client", map[string]string{"app": "client"})
	stranger = n.pod(t, namespace, "stranger", nil)
	n.apply(t, fmt.Sprintf(serverAllows, namespace, "[client]"))
	n.check(t, between(hosts(client, stranger), hosts(server))...)
	return server, client, stranger
}

// flows returns the flows on the bridge in canonical form, in order.
func (n *node) flows(t testing.TB) []string {
	t.Helper()
	bridge, err := openflow.Open(openflow.Config{Target: bed.Bridge, RunDir: n.OVS.RunDir()})
	if err != nil {
		t.Fatal(err)
	}
	flows, err := bridge.DumpFlows(within(t))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, f := range flows {
		texts = append(texts, openflow.Text(f))
	}
	slices.Sort(texts)
	return texts
}

func expectSameFlows(t testing.TB, before, after []string) {
	t.Helper()
	if slices.Equal(before, after) {
		return
	}
	var diff strings.Builder
	for _, f := range before {
		if !slices.Contains(after, f) {
			fmt.Fprintf(&diff, "- %s\n", f)
		}
	}
	for _, f := range after {
		if !slices.Contains(before, f) {
			fmt.Fprintf(&diff, "+ %s\n", f)
		}
	}
	t.Errorf("flows differ:\n%s", diff.String())
}

func TestAgentRestartDisturbsNothingAndWritesNothing(t *testing.T) {
	n := ownNode(t, 24, 64, bed.Options{}) // without connections of pods that are gone
	n.logIfFailed(t)
	server, client, stranger := n.guarded(t, "restart")
	for _, end := range []struct {
		how string
		do  func(context.Context) error
	}{{"SIGTERM", n.StopAgent}, {"SIGKILL", n.KillAgent}} {
		t.Run(end.how, func(t *testing.T) {
			before := n.flows(t)
			got := startSink(t, &server.Host, 7777)
			stop := flood(t, &stranger.Host, targetsOf(server, 7777))
			var load []*traffic
			for _, family := range []int{4, 6} {
				load = append(load, startTraffic(t, &client.Host, &server.Host, family))
			}
			if err := end.do(within(t)); err != nil {
				t.Fatal(err)
			}
			for _, l := range load {
				l.moreRounds()
			}
			expectSameFlows(t, before, n.flows(t))
			for _, from := range []*bed.Pod{client, stranger} {
				for _, family := range []int{4, 6} {
					n.expect(t, probe{&from.Host, &server.Host, family, corev1.ProtocolTCP, 80}, from == client)
				}
			}
			if err := n.StartAgent(within(t)); err != nil {
				t.Fatal(err)
			}
			n.check(t, between(hosts(client, stranger), hosts(server))...)
			for _, l := range load {
				l.moreRounds()
				l.stop()
			}
			if sent := stop(); got.count.Load() > 0 || sent == 0 {
				t.Errorf("%d of %d datagrams of a stranger arrived", got.count.Load(), sent)
			}
			expectSameFlows(t, before, n.flows(t))
			status, err := n.Client().Status(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if status.Bundles != 0 || status.Cut != 0 {
				t.Errorf("the new agent has written %d bundles with %d changes and cut %d connections", status.Bundles, status.Flows, status.Cut)
			}
		})
	}
}

func TestFlowsAreBackAfterOpenVSwitchStartsAnew(t *testing.T) {
	n := sharedNode(t)
	n.logIfFailed(t)
	server, client, stranger := n.guarded(t, "vswitchd")
	before := n.flows(t)
	got := startSink(t, &server.Host, 7777)
	stop := flood(t, &stranger.Host, targetsOf(server, 7777))
	for _, wait := range [][]string{nil, ownWait} {
		g := startGaps(t, &client.Host, &server.Host)
		n.restartVswitchd(t, wait...)
		eventually(t, "pods can be attached again", n.Status)
		eventually(t, "the flows are back, and at work", func(context.Context) error {
			if after := n.flows(t); len(after) != len(before) {
				return fmt.Errorf("there are %d, were %d", len(after), len(before))
			}
			return n.waits(t, false)
		})
		n.expect(t, probe{&client.Host, &server.Host, 6, corev1.ProtocolTCP, 80}, true)
		t.Logf("ovs-vswitchd waits for its flows: %v; %s", wait != nil, g.stop())
	}
	if *datapathFlag == sandbox.System { // others cache nothing that outlives ovs-vswitchd
		n.waitsWithoutAgent(t, &client.Host, &server.Host)
	}
	n.waitsForOthers(t, len(before))
	n.check(t, between(append(hosts(client, stranger), n.Node), hosts(server))...)
	if sent := stop(); got.count.Load() > 0 || sent == 0 {
		t.Errorf("%d of %d datagrams of a stranger arrived", got.count.Load(), sent)
	}
	expectSameFlows(t, before, n.flows(t))
	n.pod(t, "vswitchd", "late", nil)
}

func TestEnforcementStaysWhileTheAPIServerIsAway(t *testing.T) {
	n := sharedNode(t)
	n.logIfFailed(t)
	server, client, stranger := n.guarded(t, "away")
	all := between(hosts(client, stranger), hosts(server))
	before, cluster := n.flows(t), n.oracle(t)
	expectAll := func(t *testing.T) {
		for _, p := range all {
			t.Run(p.String(), func(t *testing.T) {
				t.Parallel()
				n.expect(t, p, cluster.Judge(n.conn(p)).AllowedOn(n.name))
			})
		}
	}

	n.api.Stop()
	t.Run("away", expectAll)
	n.expectCheck(t, "api", api.CheckFail)
	// An agent that starts now knows nothing, and must not touch what there is.
	if err := n.KillAgent(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := n.LaunchAgent(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the agent answers, and is not ready", func(ctx context.Context) error {
		status, err := n.Client().Status(ctx)
		if err == nil && status.Ready {
			t.Error("the agent says that it is ready, and can't know")
		}
		return err
	})
	t.Run("away, with another agent", expectAll)
	expectSameFlows(t, before, n.flows(t))

	if err := n.api.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitReady(within(t)); err != nil {
		t.Fatal(err)
	}
	expectSameFlows(t, before, n.flows(t))
	n.apply(t, fmt.Sprintf(serverAllows, "away", "[nobody]"))
	n.check(t, all...)
	n.expectCheck(t, "api", api.CheckOK)
	n.expectCheck(t, "flows", api.CheckOK)
	report, err := n.Client().CheckVerdicts(within(t), api.VerdictRequest{}, nil)
	if err != nil || len(report.Differences) > 0 || report.Traced == 0 {
		t.Errorf("sluice check --policies: %v, %+v", err, report)
	}
}

// expectCheck waits until one of the checks of sluice check has a status.
func (n *node) expectCheck(t *testing.T, name, status string) {
	t.Helper()
	eventually(t, "check "+name+" says "+status, func(ctx context.Context) error {
		report, err := n.Client().Check(ctx, api.CheckRequest{Only: []string{name}}, nil)
		if err == nil && report.Checks[0].Status != status {
			err = fmt.Errorf("it says %+v", report.Checks[0])
		}
		return err
	})
}
