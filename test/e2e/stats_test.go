package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/metrics"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/test/bed"
)

// policyStats returns the statistics of a policy and its only rule.
func (n *node) policyStats(ctx context.Context, name string) (p api.PolicyStats, r api.RuleStats, err error) {
	c := n.Client()
	defer c.Close()
	policies, err := c.Policies(ctx)
	if err != nil {
		return p, r, err
	}
	for _, policy := range policies {
		if policy.Name == name && policy.Stats != nil && len(policy.Rules) == 1 && policy.Rules[0].Stats != nil {
			return *policy.Stats, *policy.Rules[0].Stats, nil
		}
	}
	return p, r, fmt.Errorf("policy %s has no statistics", name)
}

// What pods did is told by rule and by policy, however the agent ended meanwhile.
func TestStatisticsOfRealConnectionsOutliveAgents(t *testing.T) {
	n := ownNode(t, 24, 64, bed.Options{})
	n.logIfFailed(t)
	server, client, stranger := n.guarded(t, "counted")
	const name = "counted/guard"
	// Counters follow the datapath's cache with a delay.
	settled := func(allowed, denied uint64) (p api.PolicyStats) {
		t.Helper()
		eventually(t, "attempts are counted", func(ctx context.Context) error {
			var r api.RuleStats
			var err error
			if p, r, err = n.policyStats(ctx, name); err != nil {
				return err
			}
			if r.Attempts < allowed || p.Allowed.Ingress != r.Attempts || p.Denied.Ingress < denied {
				return fmt.Errorf("%d allowed by the rule, %d by the policy, %d denied; want at least %d and %d", r.Attempts, p.Allowed.Ingress, p.Denied.Ingress, allowed, denied)
			}
			return nil
		})
		return p
	}
	before := settled(1, 1)
	n.checkTraffic(t, name, &client.Host, &server.Host)
	ends := []func(context.Context) error{n.StopAgent, n.KillAgent}
	if emulated {
		ends = nil // takes minutes there, and no datapath has a part in it
	}
	for i, end := range ends {
		if err := end(within(t)); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			n.expect(t, probe{&client.Host, &server.Host, 4, corev1.ProtocolTCP, 80}, true)
		}
		n.expect(t, probe{&stranger.Host, &server.Host, 6, corev1.ProtocolTCP, 80}, false)
		if err := n.StartAgent(within(t)); err != nil {
			t.Fatal(err)
		}
		after := settled(before.Allowed.Ingress+5, before.Denied.Ingress+1)
		if after.Since != before.Since {
			t.Errorf("restart %d: counted since %v, before it since %v", i, after.Since, before.Since)
		}
		// A SYN may be sent again, but nothing is counted twice.
		if after.Allowed.Ingress > before.Allowed.Ingress+10 {
			t.Errorf("restart %d: %d attempts allowed after 5 more, before it %d", i, after.Allowed.Ingress, before.Allowed.Ingress)
		}
		before = after
	}
	n.checkMetrics(t)
}

// checkTraffic counts what connections carry on the kernel's datapath, once the
// kernel is told to count, and is told so elsewhere.
func (n *node) checkTraffic(t testing.TB, policy string, client, server *bed.Host) {
	t.Helper()
	if *datapathFlag != sandbox.System {
		status, err := n.Client().Status(within(t))
		if err != nil || !strings.Contains(status.Traffic, "the netdev datapath does not count") {
			t.Errorf("status %+v, %v: does not say that packets and bytes are not counted", status, err)
		}
		if p, r, err := n.policyStats(within(t), policy); err != nil || p.Traffic != nil || r.Traffic != nil {
			t.Errorf("packets and bytes %v, %v, %v of a datapath that does not count", p.Traffic, r.Traffic, err)
		}
		return
	}
	if err := n.Node.Do(func() error {
		return os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_acct", []byte("1"), 0)
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the kernel counts", func(ctx context.Context) error {
		status, err := n.Client().Status(ctx)
		if err == nil && status.Traffic != "counted" {
			err = errors.New(status.Traffic)
		}
		return err
	})
	for range 3 {
		n.expect(t, probe{client, server, 4, corev1.ProtocolTCP, 80}, true)
	}
	eventually(t, "packets and bytes are counted", func(ctx context.Context) error {
		_, r, err := n.policyStats(ctx, policy)
		// Handshake, data and answer: six packets of 40 bytes and more.
		if err == nil && (r.Traffic == nil || r.Traffic.Connections < 3 || r.Traffic.Packets < 3*6 || r.Traffic.Bytes < 40*r.Traffic.Packets) {
			err = fmt.Errorf("rule %+v, traffic %+v", r, r.Traffic)
		}
		return err
	})
}

// checkMetrics asks the agent for its metrics: all that are defined are there, but
// those that only happen now and then.
func (n *node) checkMetrics(t testing.TB) {
	t.Helper()
	resp, err := browser(n.Node).Get("http://127.0.0.1:10351/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range metrics.Definitions() {
		help := fmt.Sprintf("# HELP %s %s\n# TYPE %s %s\n", d.Name, d.Help, d.Name, d.Type)
		switch d.Name {
		case "sluice_connections_allowed_total", "sluice_connection_packets_total", "sluice_connection_bytes_total", "sluice_connection_events_lost_total":
			if *datapathFlag != sandbox.System {
				if strings.Contains(string(text), d.Name) {
					t.Errorf("metrics have %s of a datapath that does not count", d.Name)
				}
				continue
			}
		case "sluice_rule_attempts_total", "sluice_cni_errors_total", "sluice_cni_duration_seconds":
			continue
		}
		if !strings.Contains(string(text), help) {
			t.Errorf("metrics lack %q", help)
		}
	}
	for _, want := range []string{
		"sluice_ready 1\n", "sluice_ports 3\n", `sluice_rules{direction="ingress"} 1` + "\n", "sluice_vswitchd_connected 1\n",
		`sluice_flows{table="IngressPolicy"} `, `sluice_attempts_denied_total{direction="ingress",reason="isolation"} `,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	if t.Failed() {
		t.Log(string(text))
	}
}
