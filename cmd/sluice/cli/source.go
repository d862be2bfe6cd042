package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sluice-cni/sluice/pkg/cluster"
	"github.com/sluice-cni/sluice/pkg/observe/api"
	"github.com/sluice-cni/sluice/pkg/observe/client"
	"github.com/sluice-cni/sluice/pkg/simulate"
)

// source answers questions: the agent of this node, or a simulated node.
type source interface {
	Trace(context.Context, api.TraceRequest) (*api.Explanation, error)
	Ports(context.Context) ([]api.Port, error)
	Policies(context.Context) ([]api.Policy, error)
	Rules(context.Context) ([]api.Rule, error)
	Identities(context.Context) ([]api.Identity, error)
	Flows(context.Context) ([]api.Flow, error)
	Nodes(context.Context) ([]api.Node, error)
	Status(context.Context) (api.Status, error)
	Close() error
}

// ask lets a command ask the agent, or the node simulated from the manifests in
// dir if that is not empty.
func (a *app) ask(ctx context.Context, dir string, question func(context.Context, source) error) (err error) {
	ctx, cancel := a.bounded(ctx)
	defer cancel()
	var s source = client.New(a.socket)
	if dir != "" {
		_, bed, err := a.simulateFolder(ctx, dir, &problems{app: a})
		if err != nil {
			return late(ctx, err)
		}
		s = bed
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := question(ctx, s); err != nil {
		return late(ctx, advise(err, a.socket))
	}
	return nil
}

// simulatedNode is the node on which all pods of a folder are.
const simulatedNode = "simulated"

// startBed starts a simulated node without pods.
func (a *app) startBed(ctx context.Context, p *problems) (*simulate.Cluster, *simulate.Bed, error) {
	o := simulate.Options{Node: simulatedNode, PodCIDRs: simulate.DefaultPodCIDRs, OnProblem: p.report}
	bed, err := simulate.Start(ctx, o)
	if err != nil {
		return nil, nil, fmt.Errorf("start the simulated node: %w", err)
	}
	return simulate.NewCluster(bed, o), bed, nil
}

// simulateFolder starts a node with the pods and policies of a folder.
func (a *app) simulateFolder(ctx context.Context, dir string, p *problems) (*simulate.Cluster, *simulate.Bed, error) {
	events, err := cluster.ReadFolder(dir, cluster.FolderOptions{Node: simulatedNode})
	if err != nil {
		return nil, nil, err
	}
	c, bed, err := a.startBed(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	if err := c.Apply(ctx, events); err != nil {
		return nil, nil, errors.Join(err, bed.Close())
	}
	return c, bed, nil
}

// problems prints what is wrong with manifests and policies.
type problems struct {
	app   *app
	mu    sync.Mutex
	count int
}

func (p *problems) report(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	fmt.Fprintf(p.app.streams.Err, "Problem: %v\n", err)
}

// any reports whether there was a problem.
func (p *problems) any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count > 0
}
