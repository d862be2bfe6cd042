// Package across puts one explanation together from the agents of several nodes.
//
// Each agent knows its own bridge only. It says where a packet goes on and what to
// ask there; this package asks, and claims nothing for a node that was not asked.
package across

import (
	"context"
	"errors"
	"fmt"

	"github.com/sluice-cni/sluice/pkg/observe/api"
)

// Agent tells what one node's bridge does with a packet.
type Agent interface {
	Trace(context.Context, api.TraceRequest) (*api.Explanation, error)
	// LivePlan says at which nodes packets come by that are to be followed.
	LivePlan(context.Context, api.LiveRequest) (*api.LivePlan, error)
	// Live follows packets and calls fn with each line of the stream, until ctx or the
	// time of the request ends, which is no error, or fn returns one, which it returns.
	Live(ctx context.Context, req api.LiveRequest, fn func(*api.LiveLine) error) error
}

// Agents finds the agents of nodes.
type Agents interface {
	// Agent returns the agent of a node, or for the empty name the one to begin with
	// where nothing says which. The error says why there is none, and what can be done.
	Agent(ctx context.Context, node string) (Agent, error)
}

// maxNodes bounds the nodes that a packet is followed to. Two will do: more means
// that nodes do not agree on where an address is.
const maxNodes = 4

// Trace asks for the way of a connection's first packet through all nodes that it
// crosses. It begins at a node, or if that is empty at the one where the source's
// pod is; a packet from outside of the cluster is taken to arrive at the node of
// its destination. An error means that nothing could be told.
func Trace(ctx context.Context, agents Agents, node string, req api.TraceRequest) (*api.Explanation, error) {
	x, err := begin(ctx, agents, node, req)
	if err != nil {
		return nil, err
	}
	last, nodes := x, 1
	for ; last.Next != nil; nodes++ {
		n := last.Next
		if nodes == maxNodes {
			n.Problem = "not asked: the packet goes from node to node"
			break
		}
		if n.Answer, n.Problem = ask(ctx, agents, n.Node, n.Ask); n.Answer == nil {
			break
		}
		last = n.Answer
	}
	conclude(x)
	return x, nil
}

// begin asks the first node.
func begin(ctx context.Context, agents Agents, node string, req api.TraceRequest) (*api.Explanation, error) {
	agent, err := agents.Agent(ctx, node)
	if err != nil {
		return nil, err
	}
	x, err := agent.Trace(ctx, req)
	if err != nil {
		return nil, err
	}
	home := x.From.Node
	if home == "" && node == "" && x.Service == nil {
		home = x.To.Node
	}
	if home == "" || home == x.Node {
		return x, nil
	}
	first, problem := ask(ctx, agents, home, req)
	switch {
	case first != nil:
		return first, nil
	case x.From.Node == "": // it may begin anywhere
		return x, nil
	case x.To.Node != x.Node:
		// This one has nothing to do with it.
		to := x.To.Node
		if x = nil; to != "" {
			x, _ = ask(ctx, agents, to, req)
		}
		if x == nil {
			return nil, errors.New(problem)
		}
	}
	x.Problem = problem
	return x, nil
}

// ask asks the agent of a node that was found out. Without an answer it says why
// there is none.
func ask(ctx context.Context, agents Agents, node string, req api.TraceRequest) (*api.Explanation, string) {
	agent, err := agents.Agent(ctx, node)
	if err != nil {
		return nil, "not asked: " + err.Error()
	}
	x, err := agent.Trace(ctx, req)
	if err != nil {
		return nil, fmt.Sprintf("the agent of node %s can't tell: %v", node, err)
	}
	return x, ""
}

// conclude makes the first node's verdict that of all.
func conclude(x *api.Explanation) {
	if x.Next == nil && x.Problem == "" {
		return
	}
	reason := x.Reason
	problem := x.Problem
	for n := x.Next; n != nil; n = n.Answer.Next {
		if n.Answer == nil {
			problem = n.Problem
			break
		}
		if n.Answer.Verdict != api.Allowed {
			x.Verdict, x.Reason = n.Answer.Verdict, fmt.Sprintf("on node %s: %s", n.Node, n.Answer.Reason)
			return
		}
		reason = join(reason, n.Answer.Reason)
	}
	switch {
	case x.Verdict != api.Allowed:
	case problem != "":
		x.Verdict, x.Reason = api.HalfAsked, join(reason, problem)
	default:
		x.Reason = reason
	}
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
