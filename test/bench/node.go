package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"

	"github.com/sluice-cni/sluice/ovs/sandbox"
	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
	"github.com/sluice-cni/sluice/test/apiserver"
)

const (
	nodeName  = "n1"
	nodePods  = 100
	nodeRange = "10.244.0.0/22"
)

// node is a node with real parts: API server, Open vSwitch, agent and plugin.
type node struct {
	dir   string
	api   *apiserver.APIServer
	kube  kubernetes.Interface
	ovs   *sandbox.Sandbox
	ask   *client.Client
	agent *process
	// netns are the paths of pods' network namespaces.
	netns []string
}

// benchNode attaches pods, writes policies and Services, and restarts the agent, in this
// order, so that each finds what the one before has left.
func benchNode(ctx context.Context, r *report) (err error) {
	n, err := newNode(ctx)
	if n != nil {
		defer func() { err = errors.Join(err, n.close()) }()
	}
	if err != nil {
		return err
	}
	if err := n.benchAdd(ctx, r); err != nil {
		return fmt.Errorf("CNI ADD: %w\n%s", err, n.agent.stderr.String())
	}
	if err := n.benchPolicies(ctx, r); err != nil {
		return fmt.Errorf("policies: %w\n%s", err, n.agent.stderr.String())
	}
	if err := n.benchServices(ctx, r); err != nil {
		return fmt.Errorf("services: %w\n%s", err, n.agent.stderr.String())
	}
	if err := n.benchRestart(ctx, r); err != nil {
		return fmt.Errorf("restart: %w\n%s", err, n.agent.stderr.String())
	}
	return nil
}

// newNode starts all parts. What it returns is to be closed even beside an error.
func newNode(ctx context.Context) (n *node, err error) {
	n = &node{}
	if n.dir, err = os.MkdirTemp("/tmp", "sluice-bench-"); err != nil {
		return n, err
	}
	if err := build(ctx, n.dir, "cmd/sluice-agent", "cmd/sluice-cni", "test/bench/veth"); err != nil {
		return n, err
	}
	if n.api, err = apiserver.New(ctx, apiserver.Options{}); err != nil {
		return n, err
	}
	if n.kube, err = cluster.NewClient(n.api.Config()); err != nil {
		return n, err
	}
	if err := n.api.CreateNode(ctx, nodeName, []netip.Prefix{netip.MustParsePrefix(nodeRange)}); err != nil {
		return n, err
	}
	if err := n.api.CreateNamespace(ctx, benchNamespace, nil); err != nil {
		return n, err
	}
	if n.ovs, err = sandbox.Start(ctx, sandbox.Options{Datapath: sandbox.Netdev}); err != nil {
		return n, err
	}
	n.ask = client.New(n.socket())
	if err := n.startAgent(); err != nil {
		return n, err
	}
	_, err = n.waitReady(ctx)
	return n, err
}

func (n *node) close() error {
	var errs []error
	if n.agent != nil {
		errs = append(errs, n.agent.stop())
	}
	if n.ask != nil {
		errs = append(errs, n.ask.Close())
	}
	if n.ovs != nil {
		errs = append(errs, n.ovs.Close())
	}
	if n.api != nil {
		errs = append(errs, n.api.Close())
	}
	for _, path := range n.netns {
		errs = append(errs, unix.Unmount(path, unix.MNT_DETACH))
	}
	return errors.Join(append(errs, os.RemoveAll(n.dir))...)
}

func (n *node) socket() string { return n.path("agent.sock") }

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

func (n *node) startAgent() error {
	agent, err := startProcess(n.path("sluice-agent"),
		"--node-name", nodeName, "--kubeconfig", n.api.Kubeconfig(), "--ovsdb", n.ovs.Endpoint(), "--ovs-run-dir", n.ovs.RunDir(),
		"--datapath", "netdev", "--socket", n.socket(), "--health-address", "")
	if err == nil {
		n.agent = agent
	}
	return err
}

// waitReady returns the agent's state once it is ready.
func (n *node) waitReady(ctx context.Context) (status api.Status, err error) {
	err = until(ctx, "the agent is ready", func() bool {
		status, err = n.ask.Status(ctx)
		return err == nil && status.Ready
	})
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, n.agent.stderr.String())
	}
	return status, err
}

// benchRestart restarts the agent under standing pods and policies: nothing has
// changed, so nothing may be written. The reference is what any client needs to
// read the same objects.
func (n *node) benchRestart(ctx context.Context, r *report) error {
	const restarts = 5
	var took, lists times
	var status api.Status
	for range restarts {
		if err := n.agent.stop(); err != nil {
			return fmt.Errorf("%w\n%s", err, n.agent.stderr.String())
		}
		started := time.Now()
		if err := n.startAgent(); err != nil {
			return err
		}
		var err error
		if status, err = n.waitReady(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(started))
		list, err := clock(func() error { return n.list(ctx) })
		if err != nil {
			return err
		}
		lists = append(lists, list)
		if status.Flows != 0 {
			break
		}
	}
	r.against(fmt.Sprintf("restart of the agent until ready, %d pods, %d policies, %d Services, p50 of %d", nodePods, standingPolicies, standingServices, len(took)),
		seconds(took.percentile(50)), seconds(lists.percentile(50)), "a list of pods, policies and EndpointSlices")
	r.figure("flow changes written by the restart", count(status.Flows))
	return nil
}
