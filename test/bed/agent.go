package bed

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/pkg/nodes"
)

// pollInterval is how often what starts is asked whether it is ready.
const pollInterval = 20 * time.Millisecond

// StartAgent starts the agent and returns when pods can be attached.
func (b *Bed) StartAgent(ctx context.Context) error {
	if err := b.LaunchAgent(); err != nil {
		return err
	}
	return b.WaitReady(ctx)
}

// LaunchAgent starts the agent without waiting for it.
func (b *Bed) LaunchAgent() error {
	if b.agent != nil {
		return errors.New("start sluice-agent: it runs")
	}
	var cidrs []string
	for _, p := range b.opts.PodCIDRs {
		cidrs = append(cidrs, p.String())
	}
	args := []string{
		"--node-name=" + b.opts.NodeName, "--pod-cidrs=" + strings.Join(cidrs, ","),
		"--ovsdb=" + b.OVS.Endpoint(), "--ovs-run-dir=" + b.OVS.RunDir(), "--datapath=" + b.opts.Datapath,
		"--bridge=" + Bridge, "--socket=" + b.Socket(), "--network=" + network, "--v=2",
	}
	if b.opts.MTU != 0 {
		args = append(args, "--mtu="+strconv.Itoa(b.opts.MTU))
	}
	if b.opts.Mode != "" {
		args = append(args, "--mode="+string(b.opts.Mode))
	}
	if b.opts.Manifests != "" {
		args = append(args, "--manifests="+b.opts.Manifests)
	} else {
		args = append(args, "--kubeconfig="+b.opts.Kubeconfig)
	}
	args = append(args, b.opts.AgentArgs...)
	var err error
	b.agent, err = startIn(b.Node.Netns, b.AgentLog(), filepath.Join(b.bin, "sluice-agent"), args...)
	return err
}

// SetAgent changes the mode and the further flags of the agent that is started
// next.
func (b *Bed) SetAgent(mode nodes.Mode, args ...string) { b.opts.Mode, b.opts.AgentArgs = mode, args }

// AgentLog returns the path of what the agents of this bed have logged.
func (b *Bed) AgentLog() string { return b.path("agent.log") }

// WaitReady returns when pods can be attached: when the CNI command STATUS says
// so.
func (b *Bed) WaitReady(ctx context.Context) error {
	for {
		err := b.Status(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-b.agent.done:
			return fmt.Errorf("sluice-agent ended: %w; the end of its log:\n%s", b.agent.err, b.agent.logTail())
		case <-ctx.Done():
			return fmt.Errorf("wait for sluice-agent: %w; last answer: %w; the end of its log:\n%s",
				context.Cause(ctx), err, b.agent.logTail())
		case <-time.After(pollInterval):
		}
	}
}

// StopAgent ends the agent as an upgrade does, by SIGTERM, and returns when it is
// gone.
func (b *Bed) StopAgent(ctx context.Context) error { return b.endAgent(ctx, syscall.SIGTERM) }

// KillAgent ends the agent as a crash does, by SIGKILL, and returns when it is
// gone.
func (b *Bed) KillAgent(ctx context.Context) error { return b.endAgent(ctx, syscall.SIGKILL) }

func (b *Bed) endAgent(ctx context.Context, s syscall.Signal) error {
	p := b.agent
	if p == nil {
		return errors.New("stop sluice-agent: it does not run")
	}
	b.agent = nil
	return p.signal(ctx, s)
}
